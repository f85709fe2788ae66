"""Retention of the existing backups: the input of `decide.decide`, read from the database, a part at a time."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import Self

from django.db.models import BooleanField, Exists, Max, OuterRef, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from backups.bucket import protection as bucket_protection
from backups.bucket.lock_rules import Locked
from backups.models import BucketProtection, Generation, StoredObject
from backups.models.generations import GenerationQuerySet
from backups.retention import holds
from backups.retention.decide import BackupFacts, Hold, RetentionVerdict, Rule, State, Successors, decide
from kvops import clock, timing
from kvops.models import Category, Family

FIRST, CHUNK = 60, 500
"""Backups that are decided on together: at first, and at most."""
_BEGINS = """
EXISTS (SELECT FROM jsonb_array_elements_text(backups_generation.prefixes) AS p (prefix)
        WHERE starts_with(prefix, %s) OR starts_with(%s, prefix))
"""
"""Whether a prefix of a backup begins with a pattern, or the other way round."""


def _rule(family: Family, days: int) -> Rule:
    return Rule(family.pk, family.binding, family.pattern, family.exact, days)


def replacing() -> GenerationQuerySet:
    """The newest readable, verified backup of every set of prefixes, not only of the backups on the page.

    A backup with an object that the newest listing misses, or found changed, replaces nothing until it is verified.
    """
    kind = ("namespace_id", "prefixes", "patterns", "purpose")
    wrong = StoredObject.objects.filter(generation=OuterRef("pk"), status__in=StoredObject.WRONG)
    whole = Generation.objects.verified().here().filter(~Exists(wrong))
    newest = whole.values(*kind).annotate(newest=Max("pk")).values("newest")
    return Generation.objects.filter(pk__in=newest)


def _successors(found: Iterable[Generation] | None) -> Successors:
    """These backups as candidates to replace others, if the caller has read them just now."""
    read = replacing().select_related("namespace", "environment") if found is None else found
    return Successors(_facts(each) for each in read)


def _facts(generation: Generation, locked: Locked | None = None) -> BackupFacts:
    given = generation.purpose in Generation.OF_GIVEN_NAMES
    return BackupFacts(
        pk=generation.pk,
        namespace=generation.namespace_id,
        binding=generation.namespace.binding,
        prefixes=tuple(generation.prefixes),
        patterns=tuple(generation.patterns) if given else (),
        purpose=generation.purpose,
        verified=generation.status == Generation.Status.VERIFIED,
        finished_at=generation.finished_at,
        retain_until=generation.retain_until,
        cache=generation.category == Category.CACHE,
        elsewhere=not generation.is_here,
        locked=locked or Locked(),
    )


@dataclass(frozen=True)
class Kept:
    """A backup with its retention verdict, and the protection of the bucket of its environment."""

    generation: Generation
    verdict: RetentionVerdict
    protection: BucketProtection

    @property
    def lock(self) -> Locked | None:
        """The end of R2's lock on the backup; None if it is not known."""
        return bucket_protection.locked_until(self.generation, self.protection)

    @property
    def lock_is_known(self) -> bool:
        """Whether the end of R2's lock on the backup is known."""
        return self.lock is not None


class Retention:
    """The retention of backups at one moment, by the rules in force.

    A page gives the moment, the families in their order, protections of buckets, and the backups that `replacing`
    has, if it has read them just now.
    """

    def __init__(
        self,
        *,
        now: datetime | None = None,
        families: Sequence[Family] | None = None,
        protections: Iterable[BucketProtection] = (),
        replacing: Iterable[Generation] | None = None,
    ) -> None:
        self.now = now or clock.now()
        self.families = list(Family.objects.order_by("binding", "pattern") if families is None else families)
        self.rules = [_rule(each, each.retain_days) for each in self.families]
        self.successors = _successors(replacing)
        self._protections = {one.environment_id: one for one in protections}
        self._held: dict[int, Sequence[Hold]] = {}

    def of(self, generations: Iterable[Generation]) -> list[Kept]:
        """The verdict on each of these existing backups, whose namespace and environment were fetched with them."""
        found = list(generations)
        strange = {each.environment_id: each.environment for each in found}
        strange = {pk: one for pk, one in strange.items() if pk not in self._protections}
        if strange:
            self._protections.update(bucket_protection.known_of([*strange.values()]))
        unseen = [each.pk for each in found if each.pk not in self._held]
        if unseen:
            held = holds.holds_of(unseen)
            self._held.update((pk, held.get(pk, ())) for pk in unseen)
        facts = (_facts(each, self._locked(each)) for each in found)
        verdicts = decide(facts, self.rules, self.successors, self._held, self.now)
        known = self._protections
        return [Kept(each, verdict, known[each.environment_id]) for each, verdict in zip(found, verdicts, strict=True)]

    def _locked(self, generation: Generation) -> Locked | None:
        return bucket_protection.last_locked_until(generation, self._protections[generation.environment_id])

    def instead(self, family: Family, days: int) -> Self:
        """The same if backups of the family were kept for so many days. Both share the facts about backups."""
        other = copy(self)
        other.rules = [_rule(each, days if each == family else each.retain_days) for each in self.families]
        return other

    def over(self, found: GenerationQuerySet, first: int = FIRST) -> Iterator[Kept]:
        """The same for any number of existing backups, oldest first; some hundreds are in memory at a time.

        The `first` part is small, because a page shows few backups.
        """
        rows, last, size = found.there().select_related("namespace", "environment").order_by("pk"), 0, first
        while chunk := list(rows.filter(pk__gt=last)[:size]):
            yield from self.of(chunk)
            if len(chunk) < size:
                return
            last, size = chunk[-1].pk, min(2 * size, CHUNK)


@dataclass(frozen=True)
class Tried:
    """A backup by the rules in force and by a simulated rule."""

    now: Kept
    then: Kept


def _near(family: Family) -> GenerationQuerySet:
    """The backups that may hold keys of the family, and few others; `Rule.reaches` tells which."""
    begins = RawSQL(_BEGINS, [family.pattern, family.pattern], BooleanField())  # noqa: S611  (our text, with parameters)
    given = Q(patterns__contains=[family.pattern]) | Q(patterns__contains=[f"{family.pattern}*"])
    return Generation.objects.filter(Q(begins) | given, namespace__binding=family.binding)


def tried(retention: Retention, family: Family, days: int, *, after: int = 0, first: int = CHUNK) -> Iterator[Tried]:
    """Every backup that may hold keys of the family, by the rules in force and if it were kept for `days`.

    Oldest first, from beyond the backup `after`. The `first` ones are decided together.
    """
    then = retention.instead(family, days)
    now = retention.over(_near(family).filter(pk__gt=after), first)
    mine = (one for one in now if any(rule.family == family.pk for rule in one.verdict.rules))
    for some in batched(mine, first):
        yield from map(Tried, some, then.of(one.generation for one in some))


def due(found: GenerationQuerySet, retention: Retention | None = None) -> Iterator[Kept]:
    """Those of the backups that can be deleted now, oldest first."""
    old = found.filter(finished_at__lte=Now() - timedelta(days=timing.RETENTION_DAYS), retain_until__lte=Now())
    return (kept for kept in (retention or Retention()).over(old) if kept.verdict.state == State.DUE)
