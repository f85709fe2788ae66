"""The families on the overview: the newest backup now or at the end of a past day, and the agreement with D1.

A backup counts for a past day if it was finished by then, not deleted before the day was over, and verified at any
time: its objects never change, so one that was read back whole later was whole before. A family counts for a past day
if it had keys then, by the newest scan of that time, or if it had such a backup. What it holds today does not matter.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now, TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _, ngettext

from backups.generations import coverage as family_coverage
from backups.generations.coverage import KindOfBackup, Light, NewestBackup
from backups.models import Check, Dataset, Generation
from backups.models.generations import IN_CURRENT_BUCKET
from backups.retention import waiting
from kvops.models import Category, Environment, Family, Scan, ScanCount
from kvops.overview.board import (
    Board,
    D1Result,
    FamilyCell,
    FamilyLine,
    Forever,
    ShownBackup,
    Strip,
)
from kvops.overview.estate import Column, Estate, Holdings
from kvops.overview.key_alarms import Alarm, first_of

STRIP_DAYS = 14
KIND = ("namespace_id", "prefixes", "patterns", "purpose")
"""Backups that are alike in these fields follow each other."""

Status, Purpose = Generation.Status, Generation.Purpose
_ROUTINE = Q(purpose__in=[Purpose.ROUTINE, Purpose.CLEANUP])


class _ReadBackups:
    """The backups of the table, now or at the end of a past day."""

    def __init__(self, estate: Estate, as_of: datetime | None) -> None:
        self.now, self.past = estate.now, as_of is not None
        self.kinds = [(row, _like(row)) for row in _kinds(as_of)]
        newest = {pk: like for (*_kind, pk, _since, _before), like in self.kinds if pk}
        here = Exists(Generation.objects.here().filter(pk=OuterRef("pk")))
        fates = Generation.objects.filter(pk__in=newest).annotate(still_here=here)
        self._shown: dict[int | None, ShownBackup] = {}
        for pk, started_at, verified_at, status, still_here in fates.values_list(
            "pk", "started_at", "verified_at", "status", "still_here"
        ):
            like = newest[pk]
            like.started_at, like.verified_at, like.status = started_at, verified_at, status
            fate = status if status != Status.VERIFIED else "" if still_here else "elsewhere"
            self._shown[pk] = ShownBackup(pk, started_at, verified_at, fate)
        self._days: dict[str, set[date]] = defaultdict(set)
        for *kind, day in _made():
            self._days[str(kind)].add(day)
        self._scans = _scans_of(as_of) if as_of else {}
        held = ScanCount.objects.filter(scan__in=self._scans.values(), keys__gt=0).exclude(family=None)
        self._held_then = set(held.values_list("scan__namespace_id", "family_id")) if self._scans else set()

    def coverage(self, estate: Estate) -> list[family_coverage.Coverage]:
        """The coverage of each family, as `coverage.of_all` has it."""
        verified = [KindOfBackup(like, row[5]) for row, like in self.kinds if row[4] and row[5]]
        verified.sort(key=lambda one: -one.newest.pk)
        return family_coverage.coverage_of(estate, verified, self.now)

    def made(self, held: Holdings, family: Family) -> tuple[set[date], date | None]:
        """The days of the verified backups of a family, and the last day before the strip with one."""
        days: set[date] = set()
        before = []
        for row, _like in self._of(held, family):
            days |= self._days[str([*row[: len(KIND)]])]
            before += [timezone.localdate(row[6])] if row[6] else []
        return days, max(before, default=None)

    def newest(self, held: Holdings, family: Family) -> ShownBackup | None:
        """The newest of the backups that were asked for, with its fate."""
        pks = [like.pk for _row, like in self._of(held, family) if like.pk]
        return self._shown[max(pks)] if pks else None

    def expected_then(self, held: Holdings, family: Family) -> bool | None:
        """Whether a backup was expected at the past moment that was asked about; None if no scan of then tells."""
        if held.namespace.pk not in self._scans:
            return None
        return bool(family.interval_hours) and (held.namespace.pk, family.pk) in self._held_then

    def _of(self, held: Holdings, family: Family) -> Iterator[tuple[Sequence[Any], Generation]]:
        for row, like in self.kinds:
            if like.namespace_id == held.namespace.pk and family_coverage.covers(like, family):
                yield row, like


def _kinds(as_of: datetime | None) -> QuerySet[Generation, tuple[Any, ...]]:
    """For each set of prefixes the newest backup, the time of the oldest, and of the last one before the strip."""
    good = Q(status=Status.VERIFIED) & IN_CURRENT_BUCKET
    recent = Now() - timedelta(days=STRIP_DAYS + 1)
    then = Q(verified_at__isnull=False, finished_at__lte=as_of or Now()) & (
        Q(deleted_at=None) | Q(deleted_at__gt=as_of or Now())
    )
    # The condition holds for few of all backups: those that exist, or existed then.
    existing = Generation.objects.filter(_ROUTINE).filter(good | then if as_of else good)
    kinds = (
        existing.order_by()
        .values(*KIND)
        .annotate(
            newest=Max("pk", filter=then if as_of else good),
            since=Min("started_at", filter=good),
            before=Max("started_at", filter=good & Q(started_at__lte=recent)),
        )
    )
    found: QuerySet[Generation, tuple[Any, ...]] = kinds.values_list(*KIND, "newest", "since", "before")
    return found


def _made() -> QuerySet[Generation, tuple[Any, ...]]:
    """The days of the strip on which a backup of each set of prefixes was made."""
    recent = Now() - timedelta(days=STRIP_DAYS + 1)
    made = Generation.objects.filter(_ROUTINE, IN_CURRENT_BUCKET, status=Status.VERIFIED, started_at__gt=recent)
    days: QuerySet[Generation, tuple[Any, ...]]
    days = made.order_by().annotate(day=TruncDate("started_at")).values_list(*KIND, "day").distinct()
    return days


def _scans_of(as_of: datetime) -> dict[int, int]:
    """The newest scan of each namespace up to a moment."""
    scans = Scan.objects.complete().filter(completed_at__lte=as_of).order_by("namespace", "-completed_at", "-pk")
    return dict(scans.distinct("namespace").values_list("namespace_id", "pk"))


def _like(row: Sequence[Any]) -> Generation:
    """A backup of this kind, with the key of the newest one."""
    return Generation(**dict(zip((*KIND, "pk"), row, strict=False)), status="")


def board(estate: Estate, as_of: datetime | None) -> Board:
    """The table of the families, as of the moment that was asked about."""
    read = _ReadBackups(estate, as_of)
    table, agreements = _Table(read, read.coverage(estate)), _Agreements(estate)
    lines = []
    for family in estate.families:
        cells = [table.cell(column, family) for column in estate.columns]
        lines.append(
            FamilyLine(
                family,
                family.binding,
                cells,
                [one for one in agreements.of(family) if _tells(one, cells)],
                [one for cell in cells if cell.holdings for one in _forever(cell.holdings, family)],
            )
        )
    order = {category: at for at, category in enumerate(family_coverage.ORDER)}
    lines.sort(key=lambda line: order[Category(line.family.category)] if line.family else 0)
    if as_of:
        return Board(lines, _unclassified(estate))
    return Board(lines, _unclassified(estate), _not_in_time(lines), list(waiting.coming(estate)))


def _not_in_time(lines: Sequence[FamilyLine]) -> list[Alarm]:
    """One alarm for families whose backup is overdue, and one for families with too short a restore history."""
    cells = [(str(line.family), cell) for line in lines for cell in line.cells]
    overdue = [(name, cell.environment) for name, cell in cells if Light(cell.light).alarming]
    short = [(name, cell.environment) for name, cell in cells if cell.short]
    found = []
    if overdue:
        n = len({name for name, _environment in overdue})
        title = ngettext("A backup of %(n)s family is overdue", "Backups of %(n)s families are overdue", n) % {"n": n}
        found.append(_about("danger", "generation.overdue", title, overdue))
    if short:
        n = len({name for name, _environment in short})
        title = ngettext(
            "%(n)s family has less than 14 days of restore history",
            "%(n)s families have less than 14 days of restore history",
            n,
        )
        found.append(_about("warning", "coverage.short", title % {"n": n}, short))
    return found


def _about(level: str, code: str, title: str, named: Sequence[tuple[str, Environment]]) -> Alarm:
    """An alarm about families of several environments, production first."""
    environments = {each.pk: each for _name, each in sorted(named, key=lambda one: not one[1].production)}
    text = first_of(list(dict.fromkeys(name for name, _environment in named)))
    first, *others = environments.values()
    url = f"{reverse('backups:backups')}#coverage"
    return Alarm(level, code, title, text, url, _("See details"), environment=first, also=others)


class _Table:
    """The facts of the cells of the table."""

    def __init__(self, read: _ReadBackups, covered: Sequence[family_coverage.Coverage]) -> None:
        self._read = read
        self._today = timezone.localdate(read.now)
        self._covered: Mapping[tuple[int | None, int], NewestBackup] = {
            (row.family.pk, backup.namespace.pk): backup for row in covered for backup in row.backups
        }

    def cell(self, column: Column, family: Family) -> FamilyCell:
        """A family in one environment."""
        environment = column.environment
        held = next((one for one in column.holdings if one.namespace.binding == family.binding), None)
        if held is None:
            return FamilyCell(environment, None)
        count, backup = held.count(family), self._covered.get((family.pk, held.namespace.pk))
        query = {"env": environment.slug, "binding": family.binding, "prefix": family.pattern}
        light = str(backup.light) if backup else "unexpected"
        newest, expected = self._read.newest(held, family), light != "unexpected"
        if self._read.past:
            then = self._read.expected_then(held, family)
            expected = newest is not None or (expected if then is None else then)
        return FamilyCell(
            environment,
            held,
            count.keys if count else None,
            f"{held.keys_url}?family={family.pk}",
            newest,
            expected,
            light,
            bool(backup and backup.short),
            _strip(self._read.made(held, family), family, self._today) if light != "unexpected" else None,
            "" if family.category == Category.CACHE else f"{reverse('backups:backup_new')}?{urlencode(query)}",
        )


def _strip(made: tuple[set[date], date | None], family: Family, today: date) -> Strip:
    days, last = made
    allowed = timedelta(hours=max(24, family.interval_hours))
    found = []
    for at in reversed(range(STRIP_DAYS)):
        day = today - timedelta(days=at)
        last = max([one for one in (*days, last) if one and one <= day], default=None)
        found.append("none" if last is None else "on_time" if day - last <= allowed else "late")
    return Strip(found)


class _Agreements:
    """The newest check of each dataset in each environment."""

    def __init__(self, estate: Estate) -> None:
        checks = Check.objects.of_kv().exclude(outcome=Check.Outcome.PENDING)
        newest = checks.order_by("dataset", "environment", "-pk").distinct("dataset", "environment")
        self._checks = {(one.dataset_id, one.environment_id): one for one in newest}
        self._datasets = list(Dataset.objects.order_by("name"))
        self._environments = estate.environments.values()

    def of(self, family: Family) -> Iterator[D1Result]:
        """The results of the datasets of a family."""
        for dataset in self._datasets:
            if dataset.binding == family.binding and family.matches(dataset.prefix):
                for environment in self._environments:
                    check = self._checks.get((dataset.pk, environment.pk))
                    if check is None:
                        yield D1Result(environment, "never", 0, reverse("backups:integrity"))
                    else:
                        state = "equal" if check.outcome == Check.Outcome.PASSED else "differs"
                        url = reverse("backups:check", args=[check.pk])
                        yield D1Result(environment, state, check.differences, url)


def _tells(result: D1Result, cells: Sequence[FamilyCell]) -> bool:
    """Whether the result of a check is shown: of a family without keys only a difference."""
    return result.state == "differs" or any(cell.keys != 0 for cell in cells if cell.holdings)


def _forever(held: Holdings, family: Family) -> list[Forever]:
    """The keys without an expiration: of a cache all, of another family those that should have one."""
    count = held.count(family)
    if count is None:
        return []
    n, expiring = (count.lacking, "lacking") if family.is_to_expire else (count.forever, "none")
    if family.category != Category.CACHE and not family.is_to_expire:
        return []
    return [Forever(held.namespace.environment, n, f"{held.keys_url}?family={family.pk}&expiring={expiring}")]


def _unclassified(estate: Estate) -> list[FamilyLine]:
    """A line for each binding with keys that belong to no family."""
    found = []
    for binding in dict.fromkeys(held.namespace.binding for held in estate.holdings):
        cells = []
        for column in estate.columns:
            held = next((one for one in column.holdings if one.namespace.binding == binding), None)
            keys = held.unclassified if held and held.scanned_at else None
            url = f"{held.keys_url}?category=unclassified" if held else ""
            cells.append(FamilyCell(column.environment, held, keys, url))
        if any(cell.keys for cell in cells):
            found.append(FamilyLine(None, binding, cells))
    return found
