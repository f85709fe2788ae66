"""The search for changes outside KVOps: a verified backup of settings against the one before it (`earlier`).

Both sets of keyed digests are in Postgres. So a search is one join, reads no value, and is one transaction. A crash
before it leaves its run to the sweep. A run also does the searches that earlier runs did not get to.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any

from django.db import connection

from backups.models import Generation, GenerationEntry, OutsideChange, OutsideSearch
from backups.outside_changes import announcements, own_operations
from backups.outside_changes.earlier import earlier_backup, left_to_another, same_keys, settings_backups
from backups.outside_changes.explained import ABSENT, Between, KeyContent, explained
from kvops import timing
from kvops.inventory.families import Families
from kvops.models import Category, Namespace, Run, UnexplainedDeletion
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done

if TYPE_CHECKING:
    from audit.chain import JSON

BLOCK = 1_000
"""Differing keys whose operations are read together."""

Kind = OutsideChange.Kind
Outcome = OutsideSearch.Outcome
Reason = OutsideSearch.Reason

_SIDE = (
    "SELECT name, digest, older_digest, expiration FROM backups_generationentry"
    " WHERE generation_id = %({side})s AND outcome = '{kept}' AND name ^@ ANY(%(prefixes)s)"
)
_KEPT = GenerationEntry.Outcome.KEPT.value
_UNLIKE = (
    "SELECT coalesce(l.name, r.name), l.digest, l.older_digest, l.expiration, r.digest, r.older_digest,"  # noqa: S608
    " r.expiration, l.name IS NOT NULL, r.name IS NOT NULL"
    f" FROM ({_SIDE.format(side='earlier', kept=_KEPT)}) AS l"
    f" FULL JOIN ({_SIDE.format(side='newer', kept=_KEPT)}) AS r ON r.name = l.name"
    # The columns are `digest` or `older_digest`. An equal key counts too if KVOps worked on it in between.
    " WHERE l.{left} IS DISTINCT FROM r.{right}"
    f" OR coalesce(l.name, r.name) IN ({own_operations.TOUCHED}) ORDER BY 1"
)


def verify_finished(run: Run) -> None:
    """Hook: search for changes outside KVOps in the backup that was verified just now, and in those left over."""
    generation = Generation.objects.select_related("namespace__environment").filter(verify_run=run).first()
    if generation is None or not due(generation):
        return
    if Run.objects.open().filter(kind=Run.Kind.OUTSIDE, subject=_subject(generation)).exists():
        return  # it was verified again before its search began
    run_driver.create(
        Run.Kind.OUTSIDE,
        subject=_subject(generation),
        label=str(generation.namespace),
        actor=announcements.SYSTEM,
        environment=generation.namespace.environment,
    )


def backup_finished(run: Run) -> None:
    """Hook: keep that a partial backup of settings cannot be compared. The next verified one is."""
    partial = settings_backups().filter(run=run, status=Generation.Status.PARTIAL)
    for generation in partial.select_related("namespace__environment"):
        announcements.keep_search(
            OutsideSearch(
                generation=generation,
                namespace=generation.namespace,
                outcome=Outcome.NOT_COMPARABLE,
                reason=Reason.PARTIAL,
            ),
            [],
        )


def search(lease: Lease) -> None:
    """Do the searches of the run's backup and of the backups of the same keys before it, oldest first."""
    number = lease.run.subject.partition(":")[2]
    generation = Generation.objects.select_related("namespace__environment").get(pk=number)
    result: dict[str, JSON] = {"generation": generation.pk, "outside": 0}
    with lease.checkpoint(Done(result), note=""):
        # Two runs of one namespace wait for each other here.
        Namespace.objects.select_for_update(no_key=True).get(pk=generation.namespace_id)
        result["outside"] = sum(_search(one).found for one in due(generation))


def _subject(generation: Generation) -> str:
    return f"generation:{generation.pk}"


def due(generation: Generation) -> list[Generation]:
    """The verified backups of the same keys that were not searched yet, oldest first.

    A backup that is verified after a newer one was searched is left out: that search covered its time.
    """
    same = same_keys(generation)
    newest = same.filter(outside_search__isnull=False).first()
    found = same.filter(outside_search__isnull=True, status=Generation.Status.VERIFIED)
    if newest is not None:
        found = found.filter(started_at__gt=newest.started_at)
    return list(found.select_related("namespace__environment").reverse())


@dataclass(frozen=True, slots=True)
class _Span:
    """Two backups, and the time in which an operation of KVOps may have changed a key from one to the other."""

    earlier: Generation
    newer: Generation
    since: datetime
    until: datetime
    between: Between

    @classmethod
    def of(cls, earlier: Generation, newer: Generation) -> "_Span":
        """The time of two backups, with the time for which KV may answer with an old entry."""
        stale, end = timedelta(seconds=timing.STALE), newer.finished_at or newer.started_at
        between = Between(earlier.finished_at or earlier.started_at, newer.started_at - stale, end)
        return cls(earlier, newer, earlier.started_at - stale, end, between)


@dataclass(frozen=True, slots=True)
class _Unlike:
    """A key of settings with its contents in both backups."""

    name: str
    category: Category
    earlier: KeyContent
    newer: KeyContent

    @property
    def differs(self) -> bool:
        """Whether the two contents differ. If not, an operation of KVOps may have been undone in between."""
        return self.earlier.absent or self.newer.absent or not self.earlier.may_be(self.newer)

    @property
    def kind(self) -> OutsideChange.Kind:
        """The kind of the change. An equal key, if no operation explains it, was changed back."""
        if self.earlier.absent:
            return Kind.NEW
        return Kind.GONE if self.newer.absent else Kind.CHANGED


def _search(newer: Generation) -> OutsideSearch:
    """Compare one backup with the one before it, and keep the result."""
    earlier = earlier_backup(newer)
    made = OutsideSearch(generation=newer, earlier=earlier, namespace=newer.namespace, outcome=Outcome.COMPARED)
    changes: list[OutsideChange] = []
    if earlier is None:
        made.outcome = Outcome.FIRST
    elif not (columns := _columns(earlier, newer)):
        made.outcome, made.reason = Outcome.NOT_COMPARABLE, Reason.DIGEST_KEY
    else:
        span = _Span.of(earlier, newer)
        for block in batched(_unlike(span, columns), BLOCK):
            changes += _not_ours(made, span, block)
        counts = Counter(change.kind for change in changes)
        made.changed, made.new, made.gone = counts[Kind.CHANGED], counts[Kind.NEW], counts[Kind.GONE]
    announcements.keep_search(made, changes)
    return made


def _columns(earlier: Generation, newer: Generation) -> tuple[str, str] | None:
    """The columns of both backups with digests under the same key; None if they have no key in common."""
    left = {earlier.digest_key: "digest", earlier.older_digest_key: "older_digest"}
    right = {newer.older_digest_key: "older_digest", newer.digest_key: "digest"}
    return next(((left[key], right[key]) for key in right if key and key in left), None)


def _unlike(span: _Span, columns: tuple[str, str]) -> Iterator[_Unlike]:
    """The keys whose entries differ, or that KVOps worked on, and that are settings or unclassified now, by name."""
    earlier, newer = span.earlier, span.newer
    families, left = Families.of(newer.namespace.binding), left_to_another(newer)
    params = {"earlier": earlier.pk, "newer": newer.pk, "namespace": newer.namespace_id, "prefixes": newer.prefixes}
    with connection.cursor() as cursor:
        cursor.execute(
            _UNLIKE.format(left=columns[0], right=columns[1]), {**params, "since": span.since, "until": span.until}
        )
        rows = cursor.fetchall()
    for name, *facts, held, holds in rows:
        family = families.family(name)
        category = Category(family.category) if family else Category.UNCLASSIFIED
        if category.sensitive and not left(name, family):
            before = _content(earlier, facts[:3]) if held else ABSENT
            yield _Unlike(name, category, before, _content(newer, facts[3:]) if holds else ABSENT)


def _content(generation: Generation, facts: Sequence[Any]) -> KeyContent:
    digest, older, expiration = facts
    by_key = {generation.older_digest_key: older, generation.digest_key: digest}
    return KeyContent(own_operations.digests(by_key), expiration)


def content_of(generation: Generation, entry: GenerationEntry) -> KeyContent:
    """The content of a key in a backup."""
    return _content(generation, (entry.digest, entry.older_digest, entry.expiration))


def _not_ours(made: OutsideSearch, span: _Span, block: Sequence[_Unlike]) -> list[OutsideChange]:
    """The changes among these keys that no operation of KVOps explains."""
    own = own_operations.of_names(made.namespace, [one.name for one in block], span.since, span.until)
    listed = _listed(made.namespace, span.earlier, [one.name for one in block if one.kind == Kind.GONE])
    found = []
    for one in block:
        if explained(one.earlier, own.get(one.name, ()), one.newer, span.between):
            made.explained += one.differs
        elif one.name in listed:
            made.listed += 1
        else:
            found.append(
                OutsideChange(name=one.name, kind=one.kind, category=one.category, own_too=bool(own.get(one.name)))
            )
    return found


def _listed(namespace: Namespace, earlier: Generation, names: Sequence[str]) -> set[str]:
    """The gone keys that a scan found deleted without an explanation since the earlier backup: they are shown there."""
    found = UnexplainedDeletion.objects.filter(
        name__in=names, scan__namespace=namespace, scan__completed_at__gte=earlier.started_at
    )
    return set(found.values_list("name", flat=True))


_REPORTED = """
SELECT c.name, s.at
  FROM backups_outsidechange c JOIN backups_outsidesearch s ON s.id = c.search_id
 WHERE s.namespace_id = %(namespace)s AND c.kind = '{gone}' AND s.at >= %(since)s"""


def reported_gone() -> str:
    """SQL: each name of the namespace that a search found gone since then, with the time. A scan repeats none."""
    return _REPORTED.format(gone=Kind.GONE.value)
