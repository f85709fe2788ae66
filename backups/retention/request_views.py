"""Disposals: expired copies are collected, and one page shows what becomes of them."""

from collections.abc import Callable, Iterator

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.models import Disposal
from backups.retention import requests as disposals
from backups.retention.request_forms import CollectForm, DisposalFilter, PruneStartForm
from backups.retention.requests import DisposalRefused
from kvops import clock
from kvops.models import Environment, Person, Run
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.runs import driver as runs
from kvops.web.acting import act, refuse

PAGE = 50
State = Disposal.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List disposals, newest first."""
    form = DisposalFilter(request.GET)
    found = list(form.disposals()[: PAGE + 1])
    context = {
        "form": form,
        "disposals": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
    }
    return render(request, "retention/requests.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def collect(request: HttpRequest, environment: str) -> HttpResponse:
    """Collect what can be deleted in an environment, and ask another person to approve it."""
    found, form = get_object_or_404(Environment, slug=environment), CollectForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say why these copies can go: the reviewer reads it."))
        return redirect("backups:retention")
    try:
        disposal = disposals.collect(found, reason=form.cleaned_data["reason"], by=person_of(request))
    except Refused as refused:
        messages.error(request, str(refused))
        refuse(request, refused, found, f"environment:{environment}")
        return redirect("backups:retention")
    messages.success(request, _("Another person is asked to approve exactly this. Nothing is deleted yet."))
    return redirect("backups:disposal", disposal.pk)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one disposal: which copies, what can be done next, what became of each."""
    return _page(request, _disposal(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that moves; when the work is over, the whole page is loaded again."""
    disposal = _disposal(pk)
    response = render(request, "retention/request.html#live", {"disposal": disposal, "run": disposal.run})
    if disposal.run is None or not disposal.run.is_open:
        response["HX-Refresh"] = "true"
    return response


@require_safe
@permission_required("kvops.view", raise_exception=True)
def objects(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The name of every object, a line each, in the order they are deleted."""
    disposal = _disposal(pk)
    response = StreamingHttpResponse(_names(disposal), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="deletion-{pk}-objects.txt"'
    return response


def _names(disposal: Disposal) -> Iterator[str]:
    for entry in disposal.entries.select_related("generation").order_by("index"):
        yield from (f"{key}\n" for key in reversed(entry.generation.every_object()))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Start the deletion that was approved."""
    disposal, person = _disposal(pk), person_of(request)
    form = PruneStartForm(request.POST, disposal=disposal)
    return _act(
        request, disposal, lambda: disposals.start(disposal, by=person), done=_("The deletion has begun."), form=form
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Let the deletion go on after it failed or was stopped."""
    disposal, person = _disposal(pk), person_of(request)

    def resume() -> None:
        if disposal.run is None:
            raise DisposalRefused(_("There is nothing that could go on."))
        runs.resume(disposal.run, actor=person.actor)

    return _act(request, disposal, resume, done=_("The run goes on from where it was."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin with no further copy of a deletion that lies still."""
    disposal, person = _disposal(pk), person_of(request)
    return _act(
        request, disposal, lambda: disposals.end_early(disposal, by=person), done=_("No further copy is deleted.")
    )


def _act(
    request: HttpRequest, disposal: Disposal, do: Callable[[], object], *, done: str, form: forms.Form | None = None
) -> HttpResponse:
    return act(
        request,
        do,
        on=(disposal.environment, f"disposal:{disposal.pk}"),
        done=done,
        to=reverse("backups:disposal", args=[disposal.pk]),
        show=lambda form, status: _page(request, _disposal(disposal.pk), form=form, status=status),
        form=form,
    )


def _page(
    request: HttpRequest, disposal: Disposal, *, form: forms.Form | None = None, status: int = 200
) -> HttpResponse:
    entries = disposal.entries.select_related("generation__environment", "generation__namespace").order_by("index")
    run = disposal.run
    context = {
        "disposal": disposal,
        "environment": disposal.environment,
        "entries": entries,
        "run": run,
        "form": form or PruneStartForm(disposal=disposal),
        "why_not": _why_not(disposal, person_of(request)),
        "may_operate": request.user.has_perm("kvops.operate"),
        "lies_still": disposal.state == State.DELETING and run is not None and run.state in Run.RESUMABLE,
    }
    return render(request, "retention/request.html", context, status=status)


def _why_not(disposal: Disposal, person: Person) -> str:
    """Why this person cannot take the next step, empty when they can."""
    approval = disposal.approval
    if approval is None or disposal.state not in {State.APPROVED, State.DELETING}:
        return ""
    if approval.approver_id == person.pk:
        return _("You approved this; another person must start it.")
    if disposal.state == State.APPROVED and approval.use_by and clock.seconds_until(approval.use_by) <= 0:
        return _("The time to use the approval is over. Withdraw it and collect the copies again.")
    return ""


def _disposal(pk: int) -> Disposal:
    related = ("environment", "requested_by", "approval__approver", "approval__requester", "run")
    return get_object_or_404(Disposal.objects.select_related(*related), pk=pk)
