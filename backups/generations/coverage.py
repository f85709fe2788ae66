"""Coverage: can each family be restored, to which moment, since when is that proven, and is the next backup in time?

Derived from the verified backups and the newest scans. Nothing is stored, and no query grows with keys or entries.

A family is *late* if its newest verified backup is older than its interval, and *overdue* after its grace. Overdue is
an alarm. So is a family with keys that was never backed up, or with less than 14 days of restore history. In the first
14 days after the first backup a shorter history is no alarm, because nobody could have more: the history is *growing*.
A family without keys, or with `interval_hours = 0`, expects no backup. A backup of 0 keys proves nothing. Until an hour
after the first due time of an environment's schedule, a family without a backup awaits its *first* one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from django.db.models import Max, Min, Q, TextChoices
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models import Generation
from kvops import clock, timing
from kvops.models import Category, Environment, Family, Namespace, Schedule
from kvops.overview.estate import Estate

ORDER = (Category.LEGACY, Category.SETTINGS, Category.CACHE)
"""The order of the families on pages."""

FIRST_WITHIN = timedelta(hours=1)
"""The time that the first backups may take after their due time."""

Purpose = Generation.Purpose
_KIND = ("namespace_id", "prefixes", "patterns", "purpose")


class Light(TextChoices):
    """Whether the newest verified backup of a family was made in time."""

    ON_TIME = "on_time", _("on time")
    LATE = "late", _("late")
    OVERDUE = "overdue", _("overdue")
    NEVER = "never", _("never backed up")
    FIRST = "first", _("first backup to come")
    UNEXPECTED = "unexpected", _("no backup expected")

    @property
    def alarming(self) -> bool:
        """Whether the state needs a person's attention."""
        return self in {Light.OVERDUE, Light.NEVER}


@dataclass(frozen=True)
class NewestBackup:
    """The newest verified backup of a family in one namespace, if there is one.

    `since` is the moment of the oldest verified backup. If less than 14 days can be restored, the history is `growing`
    until 14 days after the first backup, and `short` from then on.
    """

    namespace: Namespace
    generation: Generation | None
    since: datetime | None
    stale: bool
    light: Light
    growing: bool
    short: bool

    @property
    def grown_at(self) -> datetime | None:
        """The moment from which the oldest verified backup gives 14 days of restore history."""
        return self.since + timedelta(days=timing.RETENTION_DAYS) if self.since else None


@dataclass(frozen=True)
class Coverage:
    """A family and its backups, by environment."""

    family: Family
    backups: Sequence[NewestBackup]


def of_all(estate: Estate | None = None) -> list[Coverage]:
    """The coverage of each family in each environment; caches without any backup are left out."""
    estate = estate or Estate()
    return coverage_of(estate, _of_each(), estate.now)


def coverage_of(estate: Estate, verified: Sequence["KindOfBackup"], now: datetime) -> list[Coverage]:
    """The coverage by these verified backups at a moment.

    All backups that were ever finished are read only if a family has less than 14 days of restore history.
    """
    rows, ever, first = [], cache(_ever_finished), _first_to_come()
    for family in estate.families:
        backups = []
        for held in estate.holdings:
            if held.namespace.binding == family.binding:
                count = held.count(family)
                has_keys = count is None or count.keys > 0
                never = Light.FIRST if held.namespace.environment_id in first else Light.NEVER
                found = _newest_backup(family, held.namespace, (verified, ever), now, has_keys=has_keys, never=never)
                backups.append(found)
        if family.category != Category.CACHE or any(backup.generation for backup in backups):
            rows.append(Coverage(family, backups))
    return sorted(rows, key=lambda row: ORDER.index(Category(row.family.category)))


def _first_to_come() -> set[int | None]:
    """The environments whose schedule of backups is not an hour past its first due time."""
    due = Schedule.objects.filter(job="backup", paused_at=None).annotate(first=Min("firings__due_at"))
    soon = Q(first=None, next_at__gt=Now()) | Q(first__gt=Now() - FIRST_WITHIN)
    return set(due.filter(soon).values_list("environment_id", flat=True))


def ages() -> Iterator[tuple[list[str], float]]:
    """Environment, binding, pattern and light of each family that expects backups, with the newest one's age.

    The age is in seconds, infinite without a backup. The metrics read it.
    """
    now = clock.now()
    for row in of_all():
        for backup in row.backups:
            if backup.light != Light.UNEXPECTED:
                made = backup.generation.started_at if backup.generation else None
                age = (now - made).total_seconds() if made else float("inf")
                environment = backup.namespace.environment.slug
                yield [environment, backup.namespace.binding, row.family.pattern, str(backup.light)], age


def in_environment(environment: Environment) -> list[tuple[Family, NewestBackup]]:
    """The coverage of each family in one environment."""
    return [
        (row.family, backup)
        for row in of_all()
        for backup in row.backups
        if backup.namespace.environment_id == environment.pk
    ]


@dataclass(frozen=True)
class KindOfBackup:
    """The newest backup of a set of prefixes, and the moment of the oldest."""

    newest: Generation
    since: datetime


def _ever_finished() -> list[KindOfBackup]:
    """All backups that were ever finished, also those that were deleted since, by set of prefixes."""
    finished = Generation.objects.of_kv().exclude(status=Generation.Status.WRITING)
    found = finished.lasting().values(*_KIND).annotate(since=Min("started_at"))
    return [KindOfBackup(Generation(**{name: row[name] for name in _KIND}), row["since"]) for row in found]


def _of_each() -> list[KindOfBackup]:
    """The newest verified backup of each set of prefixes with the moment of the oldest, newest first."""
    verified = Generation.objects.of_kv().verified().here().filter(keys__gt=0)
    kinds = verified.lasting().order_by().values(*_KIND)
    since = dict(kinds.annotate(newest=Max("pk"), since=Min("started_at")).values_list("newest", "since"))
    found = Generation.objects.select_related("environment").filter(pk__in=since).order_by("-pk")
    return [KindOfBackup(one, since[one.pk]) for one in found]


def _newest_backup(
    family: Family,
    namespace: Namespace,
    backups: tuple[Sequence[KindOfBackup], Callable[[], Sequence[KindOfBackup]]],
    now: datetime,
    *,
    has_keys: bool,
    never: Light,
) -> NewestBackup:
    """The backup of a family in a namespace; `never` is the light without one.

    `backups` are the verified ones, and those that were ever finished, which are read if they matter.
    """
    verified = _covering(backups[0], family, namespace)
    newest = verified[0].newest if verified else None
    since = min((each.since for each in verified), default=None)
    enough = now - timedelta(days=timing.RETENTION_DAYS)
    stale = now - timedelta(seconds=timing.VERIFIED_FRESH)
    light = _light(family, newest, now, has_keys=has_keys, never=never)
    little = light != Light.UNEXPECTED and since is not None and since > enough
    ever = _covering(backups[1](), family, namespace) if little else []
    first = min((each.since for each in ever), default=None)
    return NewestBackup(
        namespace,
        newest,
        since,
        stale=bool(newest and newest.verified_at and newest.verified_at < stale),
        light=light,
        growing=little and first is not None and first > enough,
        short=little and first is not None and first <= enough,
    )


def _covering(backups: Iterable[KindOfBackup], family: Family, namespace: Namespace) -> list[KindOfBackup]:
    return [each for each in backups if each.newest.namespace_id == namespace.pk and covers(each.newest, family)]


def _light(family: Family, newest: Generation | None, now: datetime, *, has_keys: bool, never: Light) -> Light:
    """The state of a family. A family without keys or without an interval expects no backup."""
    if not family.interval_hours or not has_keys:
        return Light.UNEXPECTED
    if newest is None:
        return never
    age = now - newest.started_at
    if age <= timedelta(hours=family.interval_hours):
        return Light.ON_TIME
    return Light.LATE if age <= timedelta(hours=family.interval_hours + family.grace_hours) else Light.OVERDUE


def covers(generation: Generation, family: Family) -> bool:
    """Whether a backup was made of all keys of a family."""
    if generation.purpose in {Purpose.RESTORE, Purpose.CHANGE}:
        return False  # a backup before a restore or a change does not cover the family
    under = any(family.pattern.startswith(prefix) for prefix in generation.prefixes)
    return under and (generation.purpose == Purpose.ROUTINE or str(family) in generation.patterns)
