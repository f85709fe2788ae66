"""Whether schedules are on time, late or overdue, and since when.

*Late* is a schedule whose newest due time did not succeed, *overdue* one whose due time before that did not either.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import Exists, OuterRef, QuerySet

from kvops import clock, timing
from kvops.models import Environment, Firing, Run, Schedule
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
        """The name of the state in `templatetags.states.LOOKS`."""
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
        return schedule_jobs.too_often(self.schedule) if self.schedule.job in schedule_jobs.JOBS else ""


def punctuality_of(found: Iterable[Schedule]) -> Iterator[Standing]:
    """The punctuality of these schedules, by the database's clock."""
    now = clock.now()
    for schedule in found:
        times = [schedule.next_at]
        times += islice(cron.times(schedule.expression, schedule.zone, schedule.next_at), SHOWN - 1)
        newest = list(schedule.firings.order_by("-due_at")[:2])
        succeeded = good(Firing.objects.filter(schedule=schedule)).order_by("-due_at").first()
        state = _state(schedule, newest, succeeded, now)
        yield Standing(schedule, state, newest[0] if newest else None, succeeded, times)


def all_() -> list[tuple[Environment | None, list[Standing]]]:
    """Every schedule that this version knows, by environment in the order of clean-up; those for all come first."""
    known = Schedule.objects.filter(job__in=schedule_jobs.JOBS).select_related("environment", "paused_by")
    order = {name: place for place, name in enumerate(schedule_jobs.JOBS)}
    found: dict[int | None, tuple[Environment | None, list[Standing]]] = {}
    for one in punctuality_of(
        sorted(known, key=lambda one: (one.environment.order if one.environment else 0, order[one.job]))
    ):
        environment = one.schedule.environment
        found.setdefault(one.schedule.environment_id, (environment, []))[1].append(one)
    return list(found.values())


def good(firings: QuerySet[Firing]) -> QuerySet[Firing]:
    """The firings whose work is done: it was begun, and each of its runs succeeded."""
    unfinished = Run.objects.filter(firing=OuterRef("pk")).exclude(state=Run.State.SUCCEEDED)
    return firings.exclude(outcome=Firing.Outcome.REFUSED).exclude(Exists(unfinished))


def _state(schedule: Schedule, newest: list[Firing], succeeded: Firing | None, now: datetime) -> str:
    if schedule.paused_at is not None:
        return "paused"
    if now - schedule.next_at > timedelta(seconds=timing.FIRED_LATE):
        return "late"  # no sweep fires it
    if not newest:
        return "new"
    if succeeded is not None and succeeded.pk == newest[0].pk:
        return "ok"
    if Run.objects.open().filter(firing=newest[0]).exists():
        return "running"
    before = newest[1:] and newest[1]
    return "overdue" if before and (succeeded is None or succeeded.pk != before.pk) else "late"
