"""Whether schedules are on time, late or overdue, and since when.

*Late* is a schedule whose newest due time did not succeed, *overdue* one whose due time before that did not either.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from kvops import clock, timing
from kvops.models import Environment, Firing, Run, Schedule
from kvops.operations import registry
from kvops.schedules import cron, jobs as schedule_jobs

SHOWN = 3
"""Due times. A page shows this many future ones."""


@dataclass(frozen=True)
class Standing:
    """A schedule and its punctuality.

    `late`: the newest due time did not succeed, or passed without a start. `overdue`: the one before did not succeed
    either.
    """

    schedule: Schedule
    state: str
    newest: Firing | None
    succeeded: Firing | None
    following: list[datetime]

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        return f"schedule_{self.state}"

    @property
    def label(self) -> str:
        """The name of the work."""
        return str(schedule_jobs.job_label(self.schedule.job))

    @property
    def words(self) -> str:
        """The due times, in the reader's language."""
        return cron.words(self.schedule.expression)

    @property
    def too_often(self) -> str:
        """The sentence if the due times are closer together than the job allows; else empty."""
        return schedule_jobs.too_often(self.schedule) if self.schedule.job in registry.JOBS else ""


def punctuality_of(found: Iterable[Schedule], now: datetime | None = None) -> Iterator[Standing]:
    """The punctuality of these schedules, by the database's clock; `now` if a page has just read it."""
    now, schedules = now or clock.now(), list(found)
    firings = _Firings(schedules)
    for schedule in schedules:
        times = [schedule.next_at]
        times += islice(cron.times(schedule.expression, schedule.zone, schedule.next_at), SHOWN - 1)
        newest, before, succeeded = firings.of(schedule)
        state = _state(schedule, newest, before, succeeded, now, running=firings.running(newest))
        yield Standing(schedule, state, newest, succeeded, times)


class _Firings:
    """The two newest firings of each schedule and its newest good one, in two queries."""

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        mine = Firing.objects.filter(schedule=OuterRef("pk")).order_by("-due_at").values("pk")
        known = Schedule.objects.filter(pk__in=[one.pk for one in schedules]).annotate(
            newest=Subquery(mine[:1]), before=Subquery(mine[1:2]), succeeded=Subquery(good(mine)[:1])
        )
        self._of = {one.pk: [one.newest, one.before, one.succeeded] for one in known}
        wanted = Firing.objects.filter(pk__in={key for keys in self._of.values() for key in keys if key})
        found = wanted.annotate(running=Exists(Run.objects.open().filter(firing=OuterRef("pk"))))
        self._firings = {one.pk: one for one in found}
        self._running = {one.pk for one in found if one.running}

    def of(self, schedule: Schedule) -> list[Firing | None]:
        """The newest firing, the one before it, and the newest good one."""
        return [self._firings.get(key) for key in self._of.get(schedule.pk, [0, 0, 0])]

    def running(self, firing: Firing | None) -> bool:
        """Whether a run of the firing is open."""
        return firing is not None and firing.pk in self._running


def all_() -> list[tuple[Environment | None, list[Standing]]]:
    """Every schedule that this version knows, by environment in the order of clean-up; those for all come first."""
    known = Schedule.objects.filter(job__in=registry.JOBS).select_related("environment", "paused_by")
    order = {name: place for place, name in enumerate(registry.JOBS)}
    found: dict[int | None, tuple[Environment | None, list[Standing]]] = {}
    for one in punctuality_of(
        sorted(known, key=lambda one: (one.environment.order if one.environment else 0, order[one.job]))
    ):
        environment = one.schedule.environment
        found.setdefault(one.schedule.environment_id, (environment, []))[1].append(one)
    return list(found.values())


def good[Found: QuerySet[Firing, Any]](firings: Found) -> Found:
    """The firings whose work is done: it was begun, and each of its runs succeeded."""
    unfinished = Run.objects.filter(firing=OuterRef("pk")).exclude(state=Run.State.SUCCEEDED)
    return firings.exclude(outcome=Firing.Outcome.REFUSED).exclude(Exists(unfinished))


def _state(
    schedule: Schedule,
    newest: Firing | None,
    before: Firing | None,
    succeeded: Firing | None,
    now: datetime,
    *,
    running: bool,
) -> str:
    if schedule.paused_at is not None:
        return "paused"
    if now - schedule.next_at > timedelta(seconds=timing.FIRED_LATE):
        return "late"  # no sweep fires it
    if newest is None:
        return "new"
    if succeeded is not None and succeeded.pk == newest.pk:
        return "ok"
    if running:
        return "running"
    return "overdue" if before and (succeeded is None or succeeded.pk != before.pk) else "late"
