"""Schedules: the work that starts by itself, its due times and their outcomes, and the pause."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.models import Schedule
from kvops.people.signin import person_of
from kvops.schedules import jobs as schedule_jobs, punctuality
from kvops.schedules.forms import ChangeForm, FiringFilter, PauseForm
from kvops.web.acting import On, refusals_shown
from kvops.web.pages import listed

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
    schedule, form = _schedule(pk), ChangeForm(request.POST)
    if not form.is_valid():
        return _page(request, schedule, change_form=form, status=422)
    with refusals_shown(request, _on(schedule)):
        schedule_jobs.change(schedule, by=person_of(request), **form.cleaned_data)
        messages.success(request, _("The schedule is changed."))
    return redirect("schedule", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause the schedule."""
    schedule, form = _schedule(pk), PauseForm(request.POST)
    if not form.is_valid():
        return _page(request, schedule, pause_form=form, status=422)
    with refusals_shown(request, _on(schedule)):
        schedule_jobs.pause(schedule, by=person_of(request), **form.cleaned_data)
        messages.success(request, _("The schedule is paused."))
    return redirect("schedule", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def unpause(request: HttpRequest, pk: int) -> HttpResponse:
    """End the pause."""
    schedule = _schedule(pk)
    with refusals_shown(request, _on(schedule)):
        schedule_jobs.unpause(schedule, by=person_of(request))
        messages.success(request, _("The schedule is active again."))
    return redirect("schedule", pk)


def _on(schedule: Schedule) -> On:
    return On(schedule.environment, f"schedule:{schedule.pk}")


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
    context = {
        **listed(request, form, "firings", form.firings(schedule), PAGE),
        "standing": next(punctuality.punctuality_of([schedule])),
        "environment": schedule.environment,
        "change_form": change_form or ChangeForm({"expression": schedule.expression, "zone": schedule.zone}),
        "pause_form": pause_form or PauseForm(),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "schedules/detail.html", context, status=status)
