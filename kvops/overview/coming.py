"""The next 14 days: the next due times of jobs, late checks, and the approvals that end."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from kvops.models import ApprovalRequest, Environment, Run, Schedule
from kvops.operations import registry
from kvops.overview.estate import Estate
from kvops.overview.sources import DAYS_AHEAD, ComingEvent
from kvops.schedules import jobs as schedule_jobs
from kvops.web.gather import Gathered, Question, moment

State = ApprovalRequest.State


def questions() -> dict[str, Question]:
    """The shown schedules, late checks of clean-ups and ends of approvals of the next 14 days."""
    until = Now() + timedelta(days=DAYS_AHEAD)
    shown = [name for name, job in registry.JOBS.items() if job.ahead]
    schedules = Schedule.objects.filter(job__in=shown, paused_at=None, next_at__lte=until)
    ends = Q(state=State.PENDING, decide_by__range=(Now(), until)) | Q(
        state=State.APPROVED, use_by__range=(Now(), until)
    )
    approvals = ApprovalRequest.objects.filter(ends)
    late = Run.objects.open().filter(
        kind=Run.Kind.LATE_CHECK, started_by__isnull=False, owner="", wake_at__range=(Now(), until)
    )
    return {
        "late_checks": late.order_by("wake_at").values_list("pk", "label", "environment_id", "wake_at"),
        "schedules": schedules.order_by("next_at", "environment__order").values_list(
            "pk", "job", "environment_id", "next_at"
        ),
        "ending": approvals.order_by("pk").values_list(
            "pk", "kind", "state", "environment_id", "decide_by", "use_by", "standing_until"
        ),
    }


def coming(answers: Gathered, estate: Estate) -> list[ComingEvent]:
    """The due times, and the approvals that end."""
    found, environments = [], estate.environments
    for pk, label, environment, at in answers["late_checks"]:
        text, when = _("Late check: %(what)s") % {"what": label}, moment(at)
        if when:
            found.append(ComingEvent(when, text, reverse("run", args=[pk]), environments.get(environment)))
    for pk, job, environment, at in answers["schedules"]:
        text, when = str(schedule_jobs.job_label(job)), moment(at)
        if when:
            found.append(ComingEvent(when, text, reverse("schedule", args=[pk]), environments.get(environment)))
    for pk, kind, state, environment, decide_by, use_by, standing_until in answers["ending"]:
        what = capfirst(ApprovalRequest.Kind(kind).label)
        if state == State.PENDING:
            text, end = _("Last day to decide: %(what)s"), decide_by
        else:
            text, end = (
                (_("The standing approval ends: %(what)s"), standing_until)
                if standing_until
                else (_("The approval ends: %(what)s"), use_by)
            )
        when, url = moment(end), reverse("approval", args=[pk])
        if when:
            found.append(ComingEvent(when, text % {"what": what}, url, environments.get(environment)))
    return found


def in_order(events: Iterable[ComingEvent]) -> list[tuple[ComingEvent, Sequence[Environment]]]:
    """The events, the next first; those of one minute and text are one, with their environments."""
    merged: dict[object, tuple[ComingEvent, list[Environment]]] = {}
    for event in sorted(events, key=lambda one: one.at):
        key = (event.at.replace(second=0, microsecond=0), event.text)
        _first, environments = merged.setdefault(key, (event, []))
        if event.environment and event.environment not in environments:
            environments.append(event.environment)
    return list(merged.values())
