"""`schedules`: random due times around changes of the clock, with a sweep that dies, rests and has a double.

What must come of it is told by a clock on a wall that is looked at every minute: a time is due when the clock shows it
for the first time, or is put forward past it. Nothing here asks the product when something is due.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from zoneinfo import ZoneInfo

from audit import log
from kvops.models import Environment, Firing, Run, Schedule
from kvops.operations import registry
from kvops.operations.parts import ScheduledJob
from kvops.runs import driver as run_driver
from kvops.schedules import cron, jobs as schedule_jobs
from kvops.schedules.jobs import Begun
from tests import make
from tests.audit import flush
from tests.torture.rows import Found, TortureFigure, TortureRow, total

ZONES = (
    "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Australia/Sydney",
    "Africa/Casablanca", "America/Havana", "Asia/Beirut", "Pacific/Auckland", "Antarctica/Troll", "Asia/Tokyo",
)  # fmt: skip
"""Clocks that are put forward and back by an hour, half of one or two, at midnight or at night; and one that is not."""
MINUTE = timedelta(minutes=1)


class DiedWhileStarting(BaseException):
    """The sweep ended in the middle of a start."""


@dataclass(frozen=True)
class Due:
    """When something is due on the wall; None is always."""

    minutes: frozenset[int] | None
    hours: frozenset[int] | None
    weekdays: frozenset[int] | None

    @property
    def expression(self) -> str:
        """As cron says it; there Sunday is 0."""
        weekdays = None if self.weekdays is None else {(day + 1) % 7 for day in self.weekdays}
        fields = (self.minutes, self.hours, None, None, weekdays)
        return " ".join("*" if field is None else ",".join(map(str, sorted(field))) for field in fields)

    def at(self, wall: datetime) -> bool:
        """Whether it is due when the clock shows this."""
        shown = ((self.minutes, wall.minute), (self.hours, wall.hour), (self.weekdays, wall.weekday()))
        return all(field is None or value in field for field, value in shown)


def _random_due(rng: random.Random) -> Due:
    step = rng.choice([7, 15, 20, 30, 60, 60, 60])
    minutes = frozenset(range(rng.randrange(step), 60, step))
    hours = rng.choice([None, frozenset({0, 1, 2, 3, 4}), frozenset(rng.sample(range(24), rng.randrange(1, 6)))])
    weekdays = rng.choice([None, None, frozenset(rng.sample(range(7), rng.randrange(2, 7)))])
    return Due(minutes, hours, weekdays)


def _change_of(zone: ZoneInfo, rng: random.Random) -> datetime:
    """A moment at which the clock is changed, any moment where it never is."""
    begin = datetime(rng.randrange(2024, 2037), rng.randrange(1, 13), 1, tzinfo=UTC)
    for hour in range(366 * 24):
        at = begin + timedelta(hours=hour)
        if at.astimezone(zone).utcoffset() != (at + timedelta(hours=1)).astimezone(zone).utcoffset():
            return at
    return begin


def _truth(due: Due, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Every moment in (after, until] at which it is due."""
    found = []
    highest = after.astimezone(zone).replace(tzinfo=None)
    for back in range(4 * 60):  # shown before the clock was put back
        highest = max(highest, (after - back * MINUTE).astimezone(zone).replace(tzinfo=None))
    at = after
    while (at := at + MINUTE) <= until:
        wall = at.astimezone(zone).replace(tzinfo=None)
        passed = [highest + number * MINUTE for number in range(1, int((wall - highest) / MINUTE) + 1)]
        if any(due.at(one) for one in passed):
            found.append(at)
        highest = max(highest, wall)
    return found


class _ScheduleTrial:
    def __init__(self, rng: random.Random, number: int) -> None:
        self.rng, self.number, self.deaths, self.begun = rng, number, 0, 0

    def begin(self, _environment: Environment | None, actor: log.Actor) -> Begun:
        """The job: a run; sometimes the sweep dies right after it was made."""
        self.begun += 1
        run = run_driver.create(Run.Kind.VERIFY, subject=f"x:{self.number}/{self.begun}", label="x", actor=actor)
        if self.rng.random() < 0.15:
            self.deaths += 1
            raise DiedWhileStarting
        return Begun([run])

    def found(self) -> Found:
        rng, due = self.rng, _random_due(self.rng)
        zone = ZoneInfo(rng.choice(ZONES))
        now = _change_of(zone, rng) - rng.randrange(36 * 60) * MINUTE
        schedule = Schedule.objects.create(
            job=f"trial{self.number}",
            expression=due.expression,
            zone=zone.key,
            next_at=cron.following(due.expression, zone.key, now),
        )
        begin, last = now, now
        # However often it is due, no due time is left out for lying too close to the one before.
        job = ScheduledJob("x", self.begin, "* * * * *", apart=MINUTE)
        with patch.dict(registry.JOBS, {schedule.job: job}):
            for _ in range(40):
                now += rng.choice([1, 5, 5, 17, 17, 30, 61, rng.randrange(1, 600)]) * MINUTE + timedelta(
                    seconds=rng.randrange(60)
                )
                for _sweep in range(rng.choice([1, 1, 2])):
                    with suppress(DiedWhileStarting):
                        schedule_jobs.fire(schedule.pk, now)
                        last = now
        return self._judged(schedule, _truth(due, zone, begin, last))

    def _judged(self, schedule: Schedule, truth: list[datetime]) -> Found:
        firings = list(Firing.objects.filter(schedule=schedule).prefetch_related("runs"))
        started = [firing.due_at for firing in firings]
        gaps = [(firing.missed_since, firing.due_at, firing.missed) for firing in firings if firing.missed_since]
        told = [at for at in truth if any(since <= at < due for since, due, _ in gaps)]
        return {
            "due": len(truth),
            "started": len(started),
            "missed": len(told),
            "unreported": len(set(truth) - set(started) - set(told)),
            "invented": len(set(started) - set(truth)) + abs(len(told) - sum(missed for *_, missed in gaps)),
            "twice": len(started) - len(set(started)) + sum(len(firing.runs.all()) != 1 for firing in firings),
            "deaths": self.deaths,
        }


def _schedules(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    flush.empty_the_database()
    make.everybody()
    for number in numbers:
        yield number, _ScheduleTrial(random.Random(f"{seed}/{number}"), number).found()


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("schedules", len(found)),
        TortureFigure("due times", total(found, "due")),
        TortureFigure("missed without being reported", total(found, "unreported"), "==", 0),
        TortureFigure("started twice", total(found, "twice"), "==", 0),
        TortureFigure("started or reported at a time that was none", total(found, "invented"), "==", 0),
        TortureFigure("missed and reported", total(found, "missed")),
        TortureFigure("deaths of the sweep in the middle of a start", total(found, "deaths")),
    ]


ROWS = (TortureRow("schedules", "A9", n=1_000, slice=8, trials=_schedules, figures=_figures),)
