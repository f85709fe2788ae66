"""Schedules: the work that starts by itself, its due times and their outcomes, and the pause."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audit import log
from audit.actions import Action
from kvops.models import Schedule
from kvops.people.signin import person_of
from kvops.schedules import jobs as schedule_jobs, punctuality
from kvops.schedules.forms import ChangeForm, FiringFilter, PauseForm
from kvops.wording import english

PAGE = 50


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the schedules of each environment."""
    return render(request, "schedules/list.html", {"environments": punctuality.all_()})


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one schedule and each of its due times."""
    return _page(request, _schedule(pk))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Set the due times."""
    schedule, form, person = _schedule(pk), ChangeForm(request.POST), person_of(request)
    if not form.is_valid():
        return _page(request, schedule, change_form=form, status=422)
    return _act(
        request,
        schedule,
        lambda: schedule_jobs.change(schedule, by=person, **form.cleaned_data),
        _("The schedule is changed."),
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause the schedule."""
    schedule, form, person = _schedule(pk), PauseForm(request.POST), person_of(request)
    if not form.is_valid():
        return _page(request, schedule, pause_form=form, status=422)
    return _act(
        request,
        schedule,
        lambda: schedule_jobs.pause(schedule, by=person, **form.cleaned_data),
        _("The schedule is paused."),
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def unpause(request: HttpRequest, pk: int) -> HttpResponse:
    """End the pause."""
    schedule, person = _schedule(pk), person_of(request)
    return _act(
        request, schedule, lambda: schedule_jobs.unpause(schedule, by=person), _("The schedule is active again.")
    )


def _schedule(pk: int) -> Schedule:
    return get_object_or_404(Schedule.objects.select_related("environment", "paused_by"), pk=pk)


def _page(
    request: HttpRequest,
    schedule: Schedule,
    *,
    change_form: ChangeForm | None = None,
    pause_form: PauseForm | None = None,
    status: int = 200,
) -> HttpResponse:
    form = FiringFilter(request.GET)
    firings = list(form.firings(schedule)[: PAGE + 1])
    context = {
        "standing": next(punctuality.punctuality_of([schedule])),
        "environment": schedule.environment,
        "form": form,
        "firings": firings[:PAGE],
        "after": firings[PAGE - 1].pk if len(firings) > PAGE else None,
        "filtered": any(request.GET.values()),
        "change_form": change_form or ChangeForm({"expression": schedule.expression, "zone": schedule.zone}),
        "pause_form": pause_form or PauseForm(),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "schedules/detail.html", context, status=status)


def _act(request: HttpRequest, schedule: Schedule, act: Callable[[], None], done: str) -> HttpResponse:
    try:
        act()
    except schedule_jobs.ScheduleRefused as refused:
        messages.error(request, str(refused))
        log.refusal(
            Action.REFUSED,
            actor=person_of(request).actor,
            environment=schedule.environment.slug if schedule.environment else "",
            subject=f"schedule:{schedule.pk}",
            details={"reason": english(refused)[:500]},
        )
    else:
        messages.success(request, done)
    return redirect("schedule", schedule.pk)
