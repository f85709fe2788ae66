"""Schedules: work that starts by itself, each due time exactly once, and none missed without a report.

The sweep asks for due schedules. In one transaction the due time is taken (`Firing`, unique per schedule and due
time), the job makes its runs, and the next due time is set. A sweep that dies in between has done nothing, and the
next round does it. If a job refuses or breaks, it has done nothing either, and the firing has the reason. After
downtime the newest due time is caught up once. The number of missed ones before it is in the firing, the audit log, a
notification and on the page.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile

from django.conf import settings
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from kvops import clock, timing
from kvops.models import Environment, Firing, NotificationEvent, Person, Role, Run, Schedule
from kvops.notifications import bundles
from kvops.operations import registry
from kvops.outages import AWAY
from kvops.refusals import Refused
from kvops.schedules import announcements, cron
from kvops.wording import Words, columns, insist_explained, joined, labelled, say, sentence_of, translated

logger = logging.getLogger(__name__)

SYSTEM = log.Actor.system("schedule")
COUNTED = 1_000
"""Due times. Missed ones are counted up to this number."""


@dataclass
class Begun:
    """The runs that a job created, and sentences about the work it could not begin."""

    runs: list[Run] = field(default_factory=list)
    refused: list[Words] = field(default_factory=list)

    @contextmanager
    def or_refused(self) -> Iterator[None]:
        """Keep the sentence of a refusal, so that the job goes on with the next run."""
        try:
            yield
        except Refused as refused:
            self.refused += refused.args[:1]


class ScheduleRefused(Refused):
    """The schedule cannot be changed this way; the message gives the reason."""


def provide() -> None:
    """Create the missing schedules for every job and environment; existing ones stay as they are."""
    environments = list(Environment.objects.order_by("order"))
    have = set(Schedule.objects.values_list("job", "environment"))
    wanted = [
        (name, environment)
        for name, job in registry.JOBS.items()
        for environment in (environments if job.each else [None])
        if not job.of_subjects
        if (name, environment.pk if environment else None) not in have
    ]
    if not wanted:
        return
    with log.transaction():
        now = clock.now()
        for name, environment in wanted:
            expression, zone = registry.JOBS[name].expression, settings.TIME_ZONE
            made, created = Schedule.objects.get_or_create(
                job=name,
                environment=environment,
                defaults={"expression": expression, "zone": zone, "next_at": cron.following(expression, zone, now)},
            )
            if created:
                _record(Action.SCHEDULE_CREATED, made, SYSTEM, {"expression": expression, "zone": zone})


def fire_due(now: datetime | None = None) -> int:
    """Start the due schedules and set their next due times. Return their number. Two sweeps at once do no harm."""
    provide()
    at = now or clock.now()
    due = Schedule.objects.filter(next_at__lte=at, paused_at=None, job__in=registry.JOBS).order_by("next_at")
    with bundles.one_bundle(f"schedules {at.isoformat()}"):
        return sum(fire(pk, at) for pk in list(due.values_list("pk", flat=True)))


def fire(pk: int, now: datetime) -> bool:
    """Start the work of one schedule. Return False if it is not due, or another process has started it."""
    try:
        with log.transaction():
            schedule, firing = _take(pk, now)
            if firing is None:
                return False
            job = registry.JOBS[schedule.job]
            of = schedule.subject if job.of_subjects else schedule.environment
            begun: Begun = job.function(of, SYSTEM)
            Run.objects.filter(pk__in=[run.pk for run in begun.runs]).update(firing=firing)
            _settle(schedule, firing, begun, now)
    except AWAY:
        raise  # nothing was taken: the next round does it
    except Exception as error:
        logger.exception("Schedule %s could not start its work.", pk)
        sentence = say(_("Unexpected %(error)s. The log of the sweep has the details."), error=type(error).__name__)
        with log.transaction():
            schedule, firing = _take(pk, now)
            if firing is None:
                return False
            _settle(schedule, firing, Begun(refused=[sentence]), now)
    return True


def _take(pk: int, now: datetime) -> tuple[Schedule, Firing | None]:
    """The schedule, locked, and a firing for its newest due time; None if it is no longer due."""
    schedule = Schedule.objects.select_for_update(of=("self",)).select_related("environment").get(pk=pk)
    if schedule.paused_at is not None or schedule.next_at > now:
        return schedule, None
    passed = [schedule.next_at]
    due = cron.times(schedule.expression, schedule.zone, schedule.next_at)
    passed += takewhile(lambda moment: moment <= now, islice(due, COUNTED))
    firing = Firing.objects.create(
        schedule=schedule,
        due_at=passed[-1],
        outcome=Firing.Outcome.NOTHING,
        missed=len(passed) - 1,
        missed_since=passed[0] if len(passed) > 1 else None,
    )
    # Due times from before the job had its floor, or written by SQL, keep it too.
    after = now + registry.JOBS[schedule.job].apart if too_often(schedule) else now
    Schedule.objects.filter(pk=pk).update(next_at=cron.following(schedule.expression, schedule.zone, after))
    return schedule, firing


def too_often(schedule: Schedule) -> str:
    """The sentence if the schedule is due more often than its job allows; else empty."""
    try:
        cron.insist_apart(schedule.expression, registry.JOBS[schedule.job].apart)
    except cron.NotCron as error:
        return str(error)
    return ""


def _settle(schedule: Schedule, firing: Firing, begun: Begun, now: datetime) -> None:
    """Write the outcome of the due time, and announce late and refused starts."""
    stored = columns("reason", joined(begun.refused))
    if begun.runs:
        outcome, action = Firing.Outcome.STARTED, Action.SCHEDULE_FIRED
    elif stored["reason"]:
        outcome, action = Firing.Outcome.REFUSED, Action.SCHEDULE_REFUSED
    else:
        outcome, action = Firing.Outcome.NOTHING, Action.SCHEDULE_FIRED
    Firing.objects.filter(pk=firing.pk).update(outcome=outcome, **stored)
    details: dict[str, JSON] = {"due": firing.due_at.isoformat(), "runs": [run.pk for run in begun.runs]}
    _record(action, schedule, SYSTEM, {**details, "reason": stored["reason"][:500]})
    late = now - firing.due_at > timedelta(seconds=timing.FIRED_LATE)
    if firing.missed or late:
        missed: dict[str, JSON] = {"missed": firing.missed, "since": (firing.missed_since or firing.due_at).isoformat()}
        _record(Action.SCHEDULE_MISSED, schedule, SYSTEM, {**details, **missed})
        announcements.tell(
            NotificationEvent.SCHEDULE_MISSED,
            firing,
            say(_("Late: %(job)s"), job=job_label(schedule.job)),
            announcements.missed_lines(firing, now),
        )
    if begun.refused:
        title = say(_("Could not be started: %(job)s"), job=job_label(schedule.job))
        lines = [translated(sentence_of(one)) for one in begun.refused]
        announcements.tell(registry.JOBS[schedule.job].refused, firing, title, lines)


def job_label(job: str) -> str | Promise:
    """The name of a job; a job unknown to this version is shown as stored."""
    return registry.JOBS[job].label if job in registry.JOBS else job


def change(schedule: Schedule, *, expression: str, zone: str, by: Person) -> None:
    """Set new due times, from now on. Raises ScheduleRefused."""
    expression = " ".join(expression.split())
    try:
        cron.insist_cron(expression, zone)
        if schedule.job in registry.JOBS:
            cron.insist_apart(expression, registry.JOBS[schedule.job].apart)
    except cron.NotCron as error:
        raise ScheduleRefused(*error.args) from error
    with log.transaction():
        mine = _held(schedule, by)
        if mine.subject:
            raise ScheduleRefused(_("This schedule is part of an approved rule. Change it on the page of the rule."))
        next_at = cron.following(expression, zone, clock.now())
        Schedule.objects.filter(pk=mine.pk).update(expression=expression, zone=zone, next_at=next_at)
        before = {"expression": mine.expression, "zone": mine.zone}
        _record(Action.SCHEDULE_CHANGED, mine, by.actor, {"expression": expression, "zone": zone, "before": {**before}})


def pause(schedule: Schedule, *, reason: str, by: Person) -> None:
    """Pause the schedule: it is not due until the pause ends. Raises ScheduleRefused."""
    reason = reason.strip()[:500]
    insist_explained(reason, ScheduleRefused, _("Give the reason for the pause."))
    with log.transaction():
        mine = _held(schedule, by)
        if mine.paused_at is not None:
            raise ScheduleRefused(_("The schedule is already paused."))
        Schedule.objects.filter(pk=mine.pk).update(paused_at=Now(), paused_by=by, paused_reason=reason)
        _record(Action.SCHEDULE_PAUSED, mine, by.actor, {"reason": reason})


def unpause(schedule: Schedule, *, by: Person) -> None:
    """End the pause; due times within the pause do not count as missed. Raises Refused."""
    with log.transaction():
        mine = _held(schedule, by)
        if mine.paused_at is None:
            raise ScheduleRefused(_("The schedule is not paused."))
        if mine.job in registry.JOBS and (insist := registry.JOBS[mine.job].unpaused):
            insist(mine.subject)
        next_at = cron.following(mine.expression, mine.zone, clock.now())
        Schedule.objects.filter(pk=mine.pk).update(paused_at=None, paused_by=None, paused_reason="", next_at=next_at)
        _record(Action.SCHEDULE_UNPAUSED, mine, by.actor, {"paused": mine.paused_at.isoformat()})


def _held(schedule: Schedule, by: Person) -> Schedule:
    """The current schedule, locked until the open transaction ends, so that the sweep starts it before or after."""
    if not by.holds(Role.OPERATOR):
        raise ScheduleRefused(_("Only an operator can do this."))
    return Schedule.objects.select_for_update(of=("self",)).select_related("environment").get(pk=schedule.pk)


def _record(action: Action, schedule: Schedule, actor: log.Actor, details: Mapping[str, JSON]) -> None:
    log.record(
        action,
        actor=actor,
        environment=schedule.environment.slug if schedule.environment else "",
        subject=f"schedule:{schedule.pk}",
        subject_label=str(schedule),
        details=details,
    )


def of_schedules(keys: Collection[int]) -> dict[int, str]:
    """The titles of these schedules by key, in one query: the job, and the environment if it has one."""
    found = Schedule.objects.filter(pk__in=keys).select_related("environment")
    return {one.pk: _title(one) for one in found}


def _title(schedule: Schedule) -> str:
    job = str(job_label(schedule.job))
    return labelled(schedule.environment.name, job) if schedule.environment else job
