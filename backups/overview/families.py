"""The families on the overview: the newest backup now or at the end of a past day, and the agreement with D1.

A backup counts for a past day if it was finished by then, not deleted before the day was over, and verified at any
time: its objects never change, so one that was read back whole later was whole before. A family counts for a past day
if it had keys then, by the newest scan of that time, or if it had such a backup. What it holds today does not matter.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from django.db.models import Exists, Max, Min, OuterRef, Q, Subquery
from django.db.models.functions import Now, TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from backups.datasets.definition import DatasetDefinition
from backups.generations import coverage as family_coverage
from backups.generations.coverage import KindOfBackup, NewestBackup
from backups.models import Check, Dataset, Generation
from backups.models.generations import IN_CURRENT_BUCKET
from backups.retention import ahead
from kvops.models import Category, Family, Namespace, Scan, ScanCount
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
from kvops.overview.sources import DAYS_AHEAD
from kvops.web.gather import Gathered, Question, Row, ask, moment

AHEAD = timedelta(days=DAYS_AHEAD)
STRIP_DAYS = 14
KIND = ("namespace_id", "prefixes", "patterns", "purpose")
"""Backups that are alike in these fields follow each other."""

DATASET_FIELDS = tuple(DatasetDefinition.__dataclass_fields__)
Status, Purpose = Generation.Status, Generation.Purpose


def questions(as_of: datetime | None) -> dict[str, Question]:
    """The newest backup of each set of prefixes, and the newest check of each dataset. `as_of` is a past moment."""
    routine = Generation.objects.filter(purpose__in=[Purpose.ROUTINE, Purpose.CLEANUP])
    good = Q(status=Status.VERIFIED) & IN_CURRENT_BUCKET
    recent = Now() - timedelta(days=STRIP_DAYS + 1)
    then = Q(verified_at__isnull=False, finished_at__lte=as_of or Now()) & (
        Q(deleted_at=None) | Q(deleted_at__gt=as_of or Now())
    )
    # The condition holds for few of all backups: those that exist, or existed then.
    existing = routine.filter(good | then if as_of else good)
    kinds = (
        existing.order_by()
        .values(*KIND)
        .annotate(
            newest=Max("pk", filter=then if as_of else good),
            since=Min("started_at", filter=good),
            before=Max("started_at", filter=good & Q(started_at__lte=recent)),
        )
    )
    made = routine.filter(good, started_at__gt=recent).order_by().annotate(day=TruncDate("started_at"))
    checks = Check.objects.of_kv().exclude(outcome=Check.Outcome.PENDING)
    newest = checks.order_by("dataset", "environment", "-pk").distinct("dataset", "environment")
    past = {"scanned_then": _scanned(as_of), "held_then": _held(as_of)} if as_of else {}
    return {
        **past,
        "kinds": kinds.values_list(*KIND, "newest", "since", "before"),
        "made": made.values_list(*KIND, "day").distinct(),
        "datasets": Dataset.objects.order_by("name").values_list("pk", *DATASET_FIELDS),
        "checks": newest.values_list(
            *("dataset_id", "environment_id", "pk", "outcome", "differences", "finished_at", "newer")
        ),
        "first_backups": family_coverage.first_to_come(),
    }


def second(answers: Gathered, estate: Estate) -> Gathered:
    """The answers to the questions that only the first answers can put, in a second statement."""
    return answers.once("second", lambda: ask(_second(answers, estate), {}))


def _second(answers: Gathered, estate: Estate) -> Mapping[str, Question]:
    fates = {"fates": _fates([row[4] for row in answers["kinds"] if row[4]])}
    if "bucket_locks" not in answers.rows:  # of a past day
        return fates
    return {**fates, "going": ahead.candidates(answers, estate.families, AHEAD)}


def _scanned(as_of: datetime) -> Question:
    """The newest scan of each namespace up to a moment."""
    scans = Scan.objects.complete().filter(completed_at__lte=as_of, namespace=OuterRef("pk"))
    newest = Subquery(scans.order_by("-completed_at", "-pk").values("pk")[:1])
    found: Question = Namespace.objects.annotate(newest=newest).exclude(newest=None).values_list("pk", "newest")
    return found


def _held(as_of: datetime) -> Question:
    """The families that had keys at that scan, by namespace."""
    counts = ScanCount.objects.filter(scan__in=_scanned(as_of).values("newest"), keys__gt=0).exclude(family=None)
    found: Question = counts.values_list("scan__namespace_id", "family_id")
    return found


class _ReadBackups:
    """The backups of the answers."""

    def __init__(self, answers: Gathered, fates: Sequence[Row]) -> None:
        self.now, self._first = answers.now, family_coverage.first_of(answers)
        self.generations = {row[0]: (row[0], *map(moment, row[1:3]), *row[3:]) for row in fates}
        self.kinds = [(self._like(row), row) for row in answers["kinds"]]
        self.days: dict[str, set[date]] = defaultdict(set)
        for *kind, day in answers["made"]:
            self.days[str(kind)].add(date.fromisoformat(day))
        self.past = "scanned_then" in answers.rows
        self._scanned_then = {pk for pk, _scan in answers.rows.get("scanned_then", ())}
        self._held_then = {(namespace, family) for namespace, family in answers.rows.get("held_then", ())}

    def _like(self, row: Row) -> Generation:
        """A backup of this kind, with the fields of the newest one that coverage needs."""
        namespace, prefixes, patterns, purpose, newest, *_rest = row
        _pk, started_at, verified_at, status, _here = self.generations.get(newest, [None] * 5)
        return Generation(
            pk=newest,
            namespace_id=namespace,
            prefixes=prefixes,
            patterns=patterns,
            purpose=purpose,
            started_at=started_at or self.now,
            verified_at=verified_at,
            status=status or "",
        )

    def coverage(self, estate: Estate) -> list[family_coverage.Coverage]:
        """The coverage of each family, as `coverage.of_all` has it."""
        verified = [
            KindOfBackup(like, since) for like, row in self.kinds if row[4] and (since := moment(row[5])) is not None
        ]
        verified.sort(key=lambda one: -one.newest.pk)
        counted = [(held, one, held.count(one)) for held in estate.holdings for one in estate.families]
        return family_coverage.coverage_of(
            estate.families,
            [held.namespace for held in estate.holdings],
            verified=verified,
            has_keys={(held.namespace.pk, one.pk): count.keys > 0 for held, one, count in counted if count},
            now=self.now,
            first=self._first,
        )

    def made(self, held: Holdings, family: Family) -> tuple[set[date], date | None]:
        """The days of the verified backups of a family, and the last day before the strip with one."""
        days: set[date] = set()
        before = []
        for like, row in self.kinds:
            if like.namespace_id == held.namespace.pk and family_coverage.covers(like, family):
                days |= self.days[str([*row[: len(KIND)]])]
                before += [timezone.localdate(at) for at in [moment(row[6])] if at]
        return days, max(before, default=None)

    def newest(self, held: Holdings, family: Family) -> ShownBackup | None:
        """The newest of the backups that were asked for, with its fate."""
        mine = [
            like.pk
            for like, _row in self.kinds
            if like.pk and like.namespace_id == held.namespace.pk and family_coverage.covers(like, family)
        ]
        if not mine:
            return None
        pk, started_at, verified_at, status, here = self.generations[max(mine)]
        fate = "" if status == Status.VERIFIED else status
        return ShownBackup(pk, started_at, verified_at, fate or ("" if here else "elsewhere"))

    def expected_then(self, held: Holdings, family: Family) -> bool | None:
        """Whether a backup was expected at the past moment that was asked about; None if no scan of then tells."""
        if held.namespace.pk not in self._scanned_then:
            return None
        return bool(family.interval_hours) and (held.namespace.pk, family.pk) in self._held_then


def _fates(pks: Sequence[int]) -> Question:
    """The times and the status of each backup, and whether it is in the current bucket."""
    here = Exists(Generation.objects.here().filter(pk=OuterRef("pk")))
    return Generation.objects.filter(pk__in=pks).values_list("pk", "started_at", "verified_at", "status", here)


def _read(answers: Gathered, estate: Estate) -> _ReadBackups:
    return answers.once("backups", lambda: _ReadBackups(answers, second(answers, estate)["fates"]))


def coverage_of(answers: Gathered, estate: Estate) -> list[family_coverage.Coverage]:
    """The coverage of each family by the answers."""
    return answers.once("coverage", lambda: _read(answers, estate).coverage(estate))


def board(answers: Gathered, estate: Estate) -> Board:
    """The table of the families, as of the moment that was asked about."""
    table = _Table(_read(answers, estate), coverage_of(answers, estate))
    lines = []
    for family in estate.families:
        cells = [table.cell(column, family) for column in estate.columns]
        lines.append(
            FamilyLine(
                family,
                family.binding,
                cells,
                [one for one in _agreements(answers, estate, family) if _tells(one, cells)],
                [one for cell in cells if cell.holdings for one in _forever(cell.holdings, family)],
            )
        )
    order = {category: at for at, category in enumerate(family_coverage.ORDER)}
    lines.sort(key=lambda line: order[Category(line.family.category)] if line.family else 0)
    return Board(lines, _unclassified(estate))


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


def _agreements(answers: Gathered, estate: Estate, family: Family) -> list[D1Result]:
    """The newest check of each dataset of the family, by environment."""
    checks = {(dataset, environment): row for dataset, environment, *row in answers["checks"]}
    found = []
    for pk, *fields in answers["datasets"]:
        dataset = dict(zip(DATASET_FIELDS, fields, strict=True))
        if dataset["binding"] != family.binding or not family.matches(dataset["prefix"]):
            continue
        for environment in estate.environments.values():
            check, outcome, differences, *_ = checks.get((pk, environment.pk), (None, "", 0))
            if check is None:
                found.append(D1Result(environment, "never", 0, reverse("backups:integrity")))
            else:
                state = "equal" if outcome == Check.Outcome.PASSED else "differs"
                found.append(D1Result(environment, state, differences, reverse("backups:check", args=[check])))
    return found


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
