"""The next 14 days: the next due times of jobs, late checks, and the approvals that end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from kvops.models import ApprovalRequest, Environment, Run, Schedule
from kvops.operations import registry
from kvops.schedules import jobs as schedule_jobs

State = ApprovalRequest.State
DAYS_AHEAD = 14


@dataclass(frozen=True)
class ComingEvent:
    """Something that happens by itself, or ends, within the next 14 days; `action` is a link to do something about it.

    Events of the same time and text in several environments are one.
    """

    at: datetime
    text: str
    url: str
    environment: Environment | None = None
    action: str = ""
    action_url: str = ""


def coming() -> Iterator[ComingEvent]:
    """The late checks of clean-ups, the due times of the shown schedules, and the approvals that end."""
    until = Now() + timedelta(days=DAYS_AHEAD)
    late = Run.objects.open().filter(
        kind=Run.Kind.LATE_CHECK, started_by__isnull=False, owner="", wake_at__range=(Now(), until)
    )
    for run in late.select_related("environment").order_by("wake_at"):
        text, at = _("Late check: %(what)s") % {"what": run.label}, run.wake_at or run.created_at
        yield ComingEvent(at, text, reverse("run", args=[run.pk]), run.environment)
    shown = [name for name, job in registry.JOBS.items() if job.ahead]
    due = Schedule.objects.filter(job__in=shown, paused_at=None, next_at__lte=until)
    for schedule in due.select_related("environment").order_by("next_at", "environment__order"):
        text, url = str(schedule_jobs.job_label(schedule.job)), reverse("schedule", args=[schedule.pk])
        yield ComingEvent(schedule.next_at, text, url, schedule.environment)
    ends = Q(state=State.PENDING, decide_by__range=(Now(), until)) | Q(
        state=State.APPROVED, use_by__range=(Now(), until)
    )
    for approval in ApprovalRequest.objects.filter(ends).select_related("environment").order_by("pk"):
        yield _end_of(approval)


def _end_of(approval: ApprovalRequest) -> ComingEvent:
    text, end = _("The approval ends: %(what)s"), approval.use_by
    if approval.state == State.PENDING:
        text, end = _("Last day to decide: %(what)s"), approval.decide_by
    elif approval.standing_until:
        text, end = _("The standing approval ends: %(what)s"), approval.standing_until
    what, url = capfirst(approval.get_kind_display()), reverse("approval", args=[approval.pk])
    return ComingEvent(end or approval.decide_by, text % {"what": what}, url, approval.environment)


def in_order(events: Iterable[ComingEvent]) -> list[tuple[ComingEvent, Sequence[Environment]]]:
    """The events, the next first; those of one minute and text are one, with their environments."""
    merged: dict[object, tuple[ComingEvent, list[Environment]]] = {}
    for event in sorted(events, key=lambda one: one.at):
        key = (event.at.replace(second=0, microsecond=0), event.text)
        _first, environments = merged.setdefault(key, (event, []))
        if event.environment and event.environment not in environments:
            environments.append(event.environment)
    return list(merged.values())
