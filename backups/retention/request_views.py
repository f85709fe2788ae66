"""Prune requests: expired backups are collected, and one page shows the progress of a request."""

from collections.abc import Callable, Iterator

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.models import PruneRequest
from backups.retention import requests as prune_requests
from backups.retention.request_forms import CollectForm, PruneFilter, PruneStartForm
from backups.retention.requests import PruneRefused
from kvops import clock
from kvops.models import Environment, Person, Run
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.web.acting import act, refuse

PAGE = 50
State = PruneRequest.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List prunes, newest first."""
    form = PruneFilter(request.GET)
    found = list(form.prunes()[: PAGE + 1])
    context = {
        "form": form,
        "prunes": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
    }
    return render(request, "retention/prunes.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def collect(request: HttpRequest, environment: str) -> HttpResponse:
    """Collect what can be deleted in an environment, and ask another person to approve it."""
    found, form = get_object_or_404(Environment, slug=environment), CollectForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Give the reason for deleting these backups. The reviewer reads it."))
        return redirect("backups:retention")
    try:
        prune = prune_requests.collect(found, reason=form.cleaned_data["reason"], by=person_of(request))
    except Refused as refused:
        messages.error(request, str(refused))
        refuse(request, refused, found, f"environment:{environment}")
        return redirect("backups:retention")
    messages.success(request, _("Another person is asked to approve exactly this. Nothing is deleted yet."))
    return redirect("backups:prune", prune.pk)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one prune: which copies, what can be done next, what became of each."""
    return _page(request, _prune(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that moves; when the work is over, the whole page is loaded again."""
    prune = _prune(pk)
    response = render(request, "retention/prune.html#live", {"prune": prune, "run": prune.run})
    if prune.run is None or not prune.run.is_open:
        response["HX-Refresh"] = "true"
    return response


@require_safe
@permission_required("kvops.view", raise_exception=True)
def objects(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The name of every object, a line each, in the order they are deleted."""
    prune = _prune(pk)
    response = StreamingHttpResponse(_names(prune), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="deletion-{pk}-objects.txt"'
    return response


def _names(prune: PruneRequest) -> Iterator[str]:
    for entry in prune.entries.select_related("generation").order_by("index"):
        yield from (f"{key}\n" for key in reversed(entry.generation.every_object()))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Start the deletion that was approved."""
    prune, person = _prune(pk), person_of(request)
    form = PruneStartForm(request.POST, prune=prune)
    return _act(
        request, prune, lambda: prune_requests.start(prune, by=person), done=_("The deletion has begun."), form=form
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Let the deletion go on after it failed or was stopped."""
    prune, person = _prune(pk), person_of(request)

    def resume() -> None:
        if prune.run is None:
            raise PruneRefused(_("There is no run to resume."))
        run_driver.resume(prune.run, actor=person.actor)

    return _act(request, prune, resume, done=_("The run resumes where it stopped."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin with no further copy of a deletion that lies still."""
    prune, person = _prune(pk), person_of(request)
    return _act(
        request, prune, lambda: prune_requests.end_early(prune, by=person), done=_("No further backup is deleted.")
    )


def _act(
    request: HttpRequest, prune: PruneRequest, do: Callable[[], object], *, done: str, form: forms.Form | None = None
) -> HttpResponse:
    return act(
        request,
        do,
        on=(prune.environment, f"prune:{prune.pk}"),
        done=done,
        to=reverse("backups:prune", args=[prune.pk]),
        show=lambda form, status: _page(request, _prune(prune.pk), form=form, status=status),
        form=form,
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
    """Why this person cannot take the next step, empty when they can."""
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
