"""The contents of a namespace for the form of a new backup, and of a backup for its page.

Reads only. No query grows with the keys of a namespace or the entries of a backup.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import CharField, Exists, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Cast, Concat, Now

from audit.actions import Action
from audit.models import Entry
from backups.generations import encryption
from backups.models import Generation, GenerationEntry
from backups.models.generations import GenerationQuerySet
from kvops import timing
from kvops.inventory import families as key_families
from kvops.models import Category, Key, Namespace, ScanCount
from kvops.prefixes import distinct

CAP = 10_000
"""Keys. A page counts the keys under a prefix up to this many; for a whole family the scan has the number."""

SHOWN = 20
PREVIOUS_WITHIN = 1_000
"""Backups. The previous one of the same scope is looked for among so many, so that a list of backups stays fast."""


@dataclass(frozen=True)
class Covered:
    """Keys of one family under some prefixes; `more` if there are more than were counted.

    `secret` keys are backed up encrypted only.
    """

    name: str
    category: Category
    keys: int
    more: bool
    secret: bool


STALE = Q(verified_at__lt=Now() - timedelta(seconds=timing.VERIFIED_FRESH))
"""The last verification is out of date."""


def newest(found: GenerationQuerySet) -> list[Generation]:
    """The newest backup of each set of prefixes, newest first."""
    kind = ("namespace_id", "prefixes", "patterns", "purpose")
    newest = found.order_by().values(*kind).annotate(newest=Max("pk")).values("newest")  # sorted by prefixes is slower
    return list(Generation.objects.filter(pk__in=newest).order_by("-pk"))


def coverage(
    namespace: Namespace, prefixes: Collection[str], counts: Sequence[ScanCount] | None = None
) -> list[Covered]:
    """The keys of the inventory under the prefixes, by family. Raises scope.BackupRefused.

    `counts` are those of the newest scan, if the caller has just read them.
    """
    wanted, counts = distinct(prefixes), key_families.keys_by_family(namespace) if counts is None else counts
    rows = (_covered(namespace, wanted, row) for row in counts)
    return [row for row in rows if row and row.keys]


def _covered(namespace: Namespace, prefixes: Sequence[str], row: ScanCount) -> Covered | None:
    category = Category(row.category)
    family = row.family
    secret = encryption.needed(family)
    if "" in prefixes or (family and any(family.pattern.startswith(prefix) for prefix in prefixes)):
        return Covered(row.pattern, category, row.keys, more=False, secret=secret)
    within = [prefix for prefix in prefixes if not family or family.matches(prefix)]
    keys = Key.objects.filter(namespace=namespace, category=category, family=family)
    counts = [keys.under(prefix)[: CAP + 1].count() for prefix in within]
    more = any(n > CAP for n in counts)
    return Covered(row.pattern, category, sum(min(count, CAP) for count in counts), more=more, secret=secret)


def holding(namespace: Namespace, name: str) -> list[tuple[Generation, GenerationEntry]]:
    """The newest backups of a namespace with a value of the key, each with its entry."""
    kept = GenerationEntry.objects.filter(
        name=name, outcome=GenerationEntry.Outcome.KEPT, generation__namespace=namespace
    ).exclude(
        Q(generation__status__in=[Generation.Status.WRITING, *Generation.GOING])
        | Q(generation__purpose=Generation.Purpose.MASTERS)
    )
    entries = kept.select_related("generation").order_by("-generation_id")[:SHOWN]
    return [(entry.generation, entry) for entry in entries]


def verified_at_the(found: GenerationQuerySet, moment: datetime) -> GenerationQuerySet:
    """Backups that existed at a moment and had passed their last verification before it, by the audit log."""
    subject = Concat(Value("generation:"), Cast(OuterRef("pk"), CharField()))
    judged = [Action.GENERATION_VERIFIED, Action.GENERATION_DAMAGED]
    last = Entry.objects.filter(subject=subject, action__in=judged, at__lt=moment).order_by("-seq")
    gone = Entry.objects.filter(subject=subject, action=Action.GENERATION_DELETING, at__lt=moment)
    started = found.filter(started_at__lt=moment).exclude(Exists(gone))
    return started.annotate(judged=Subquery(last.values("action")[:1])).filter(judged=Action.GENERATION_VERIFIED)


def for_pages(found: GenerationQuerySet) -> GenerationQuerySet:
    """Backups with `previous` and `stale`.

    `previous` is the number of the comparable backup of the same scope before this one, if near.
    """
    same = {name: OuterRef(name) for name in ("namespace", "prefixes", "exact", "source")}
    before = Generation.objects.filter(**same, status__in=Generation.COMPARABLE)
    before = before.filter(pk__lt=OuterRef("pk"), pk__gte=OuterRef("pk") - PREVIOUS_WITHIN)
    return found.annotate(previous=Subquery(before.order_by("-pk").values("pk")[:1]), stale=STALE)
