"""Prune requests: expired backups are collected, and one page shows the progress of a request."""

from collections.abc import Iterator

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from backups.models import PruneRequest
from backups.retention import requests as prune_requests
from backups.retention.request_forms import CollectForm, PruneFilter, PruneStartForm
from backups.retention.requests import PruneRefused
from kvops import clock
from kvops.models import Environment, Person, Run
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.files import streamed
from kvops.web.pages import listed, live_part

PAGE = 50
State = PruneRequest.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List prune requests, newest first."""
    form = PruneFilter(request.GET)
    context = listed(request, form, "prunes", form.prunes(), PAGE)
    return render(request, "retention/prunes.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def collect(request: HttpRequest, environment: str) -> HttpResponse:
    """Collect the backups of an environment that can be deleted, and ask another person to approve."""
    found, form = get_object_or_404(Environment, slug=environment), CollectForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Give the reason for deleting these backups. The reviewer reads it."))
        return redirect("backups:retention")
    with refusals_shown(request, On(found, f"environment:{environment}")):
        prune = prune_requests.collect(found, reason=form.cleaned_data["reason"], by=person_of(request))
        messages.success(request, _("Another person is asked to approve exactly this. Nothing is deleted yet."))
        return redirect("backups:prune", prune.pk)
    return redirect("backups:retention")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one prune request: its backups, the next action, and the result for each backup."""
    return _page(request, _prune(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run ends, the whole page is loaded again."""
    prune = _prune(pk)
    context = {"prune": prune, "run": prune.run}
    return live_part(request, "retention/prune.html", context, moving=prune.run is not None and prune.run.is_open)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def objects(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The names of all objects, one per line, in the order of their deletion."""
    return streamed(_names(_prune(pk)), f"deletion-{pk}-objects.txt", "text/plain")


def _names(prune: PruneRequest) -> Iterator[str]:
    for entry in prune.entries.select_related("generation").order_by("index"):
        yield from (f"{key}\n" for key in reversed(entry.generation.every_object()))


def _resume(prune: PruneRequest, *, by: Person) -> None:
    """Resume the deletion after a failure or a stop."""
    if prune.run is None:
        raise PruneRefused(_("There is no run to resume."))
    run_driver.resume(prune.run, actor=by.actor)


STEPS: dict[str, Step[PruneRequest]] = {
    "start": Step(
        prune_requests.start,
        gettext_lazy("The deletion has begun."),
        form_of=lambda data, prune: PruneStartForm(data, prune=prune),
    ),
    "again": Step(_resume, gettext_lazy("The run resumes where it stopped.")),
    "end": Step(prune_requests.end_early, gettext_lazy("No further backup is deleted.")),
}


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the prune request."""
    prune = _prune(pk)
    return act(
        request,
        STEPS[step],
        prune,
        on=On(prune.environment, f"prune:{pk}"),
        to=reverse("backups:prune", args=[pk]),
        show=lambda form, status: _page(request, _prune(pk), form=form, status=status),
    )


def _page(
    request: HttpRequest, prune: PruneRequest, *, form: forms.Form | None = None, status: int = 200
) -> HttpResponse:
    entries = prune.entries.select_related("generation__environment", "generation__namespace").order_by("index")
    run = prune.run
    context = {
        "prune": prune,
        "environment": prune.environment,
        "entries": entries,
        "run": run,
        "form": form or PruneStartForm(prune=prune),
        "why_not": _why_not(prune, person_of(request)),
        "may_operate": request.user.has_perm("kvops.operate"),
        "lies_still": prune.state == State.DELETING and run is not None and run.state in Run.RESUMABLE,
    }
    return render(request, "retention/prune.html", context, status=status)


def _why_not(prune: PruneRequest, person: Person) -> str:
    """The reason why this person cannot take the next step; empty if they can."""
    approval = prune.approval
    if approval is None or prune.state not in {State.APPROVED, State.DELETING}:
        return ""
    if approval.approver_id == person.pk:
        return _("You approved this; another person must start it.")
    if prune.state == State.APPROVED and approval.use_by and clock.seconds_until(approval.use_by) <= 0:
        return _("The deadline for using the approval has passed. Withdraw it and collect the backups again.")
    return ""


def _prune(pk: int) -> PruneRequest:
    related = ("environment", "requested_by", "approval__approver", "approval__requester", "run")
    return get_object_or_404(PruneRequest.objects.select_related(*related), pk=pk)
