"""Bulk changes: the list, a new one from the keys of a cache, and one page with every step of one change."""

from collections.abc import Iterator
from operator import attrgetter

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.changes.bulk import qa, requests as bulk_requests, start as bulk_start
from backups.changes.bulk.forms import (
    AcceptBulkForm,
    BulkChangeForm,
    BulkFilter,
    BulkNamesFilter,
    BulkScopeForm,
    BulkStartForm,
    SubmitBulkForm,
)
from backups.models import Restore, RestoreEntry
from backups.models.bulk_changes import MOST
from backups.restores.moves import RestoreRefused
from kvops import clock
from kvops.inventory.views import named
from kvops.models import Person, Run
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.files import Cell, as_file
from kvops.web.pages import listed, live_part, page_of
from kvops.wording import reason_of

PAGE = 50
SHOWN = 20
"""Names. The page that asks for a change shows at most this many."""
COUNTED = 10_000
"""Keys. The page that asks for a change counts to this number, as the list of keys does. The change counts all."""
COLUMNS = ("name", "outcome", "compared_after")
State = Restore.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List bulk changes, newest first."""
    form = BulkFilter(request.GET)
    context = listed(request, form, "bulk_changes", form.bulk_changes(), PAGE)
    return render(request, "changes/bulk/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Choose what the keys of a cache get. The page shows their number and the first names; nothing is written."""
    namespace = named(environment, binding)
    asked = BulkScopeForm(request.POST if request.method == "POST" else request.GET)
    form = BulkChangeForm(request.POST if request.method == "POST" else None)
    if asked.is_valid() and not form.is_bound:
        first = {**asked.cleaned_data, "operation": asked.cleaned_data["operation"] or "expiration"}
        form = BulkChangeForm(initial=first)
    if form.is_bound and form.is_valid():
        person, chosen = person_of(request), form.cleaned_data
        on = On(namespace.environment, f"namespace:{namespace.pk}", str(namespace))
        with refusals_shown(request, on, form=form):
            made = bulk_start.begin(namespace, chosen["prefix"], chosen["scope"], form.wish(), by=person)
            messages.success(request, _("The keys are being backed up. Nothing is written to KV yet."))
            return redirect("backups:bulk_change", made.pk)
    context = {"namespace": namespace, "environment": namespace.environment, "form": form, "asked": asked, "most": MOST}
    if asked.is_valid():
        prefix, scope = asked.cleaned_data["prefix"], asked.cleaned_data["scope"]
        try:
            family = bulk_start.cache_family(namespace, prefix)
        except RestoreRefused as refused:
            context["why_not"] = reason_of(refused)
        else:
            form.suit(family)
            keys = bulk_start.chosen_keys(namespace, family, prefix, scope)
            names = list(keys.order_by("name").values_list("name", flat=True)[:SHOWN])
            counted = keys.order_by("name")[: COUNTED + 1].count()
            context |= {"family": family, "count": min(counted, COUNTED), "more": counted > COUNTED, "names": names}
    return render(request, "changes/bulk/new.html", context, status=422 if form.is_bound else 200)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one bulk change: what is written, the next action, and the result for every name."""
    return _page(request, _bulk_change(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run or the decision, the whole page is loaded again."""
    restore = _bulk_change(pk)
    run = _run(restore)
    context = {"restore": restore, "run": run}
    prepares = restore.state == State.PREPARING and not restore.returned_because and run.state not in Run.RESUMABLE
    moving = run.is_open or prepares or restore.state == State.SUBMITTED
    return live_part(request, "changes/bulk/detail.html", context, moving=moving)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def names(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The names that match the filters of the address, with their results, as CSV or JSON."""
    restore = _bulk_change(pk)
    rows = _rows(BulkNamesFilter(request.GET).entries(restore).iterator(2_000))
    head = {"bulk_change": restore.pk, "backup": restore.generation_id, "environment": restore.environment.slug}
    head |= {"binding": restore.namespace.binding, "state": restore.state, "names": restore.names}
    return as_file(request, f"bulk-change-{pk}", head, COLUMNS, rows)


def _rows(entries: Iterator[RestoreEntry]) -> Iterator[list[Cell]]:
    for entry in entries:
        yield [entry.name, entry.outcome, entry.compared]


def _resume(restore: Restore, *, by: Person) -> None:
    """Resume the backup, its verification or the writing after a failure or a stop."""
    run_driver.resume(_run(restore), actor=by.actor)


def _end(restore: Restore, *, by: Person) -> None:
    """Give the change up; if its run was stopped or failed, write no further key."""
    if restore.state == State.WRITING:
        bulk_requests.end_early(restore, by=by)
    else:
        bulk_requests.give_up(restore, by=by)


STEPS: dict[str, Step[Restore]] = {
    "submit": Step(
        bulk_requests.submit,
        gettext_lazy("Another person is asked to approve exactly this."),
        SubmitBulkForm,
        ("reason",),
    ),
    "start": Step(
        bulk_requests.start,
        gettext_lazy("The bulk change has begun."),
        form_of=lambda data, restore: BulkStartForm(data, restore=restore),
    ),
    "again": Step(_resume, gettext_lazy("The run resumes where it stopped.")),
    "end": Step(_end, gettext_lazy("Nothing more is written.")),
    "accept": Step(
        bulk_requests.accept, gettext_lazy("It is recorded that the application works."), AcceptBulkForm, ("note",)
    ),
}


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the bulk change."""
    restore = _bulk_change(pk)
    return act(
        request,
        STEPS[step],
        restore,
        on=On(restore.environment, f"bulkchange:{pk}"),
        to=reverse("backups:bulk_change", args=[pk]),
        show=lambda form, status: _page(request, _bulk_change(pk), form=form, status=status),
    )


def _page(request: HttpRequest, restore: Restore, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    """The page of a bulk change; `form` is a submitted form with the person's input."""
    person, names = person_of(request), BulkNamesFilter(request.GET)
    entries, after = page_of(names.entries(restore), PAGE, attrgetter("index"))
    run = _run(restore)
    lies_still = run.state in Run.RESUMABLE and restore.is_open
    result = run.result if restore.state == State.DONE else {}
    context = {
        "restore": restore,
        "bulk": restore.bulk,
        "environment": restore.environment,
        "run": run,
        "form": form or _form(restore),
        "why_not": _why_not(restore, person),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_end": restore.state in {State.PREPARING, State.PREPARED}
        or (restore.state == State.WRITING and lies_still),
        "lies_still": lies_still,
        "results": [(kind, n) for kind in RestoreEntry.Outcome.values if (n := result.get(kind))],
        "qa": qa.accepted_before(restore.bulk) if qa.comes_first(restore.bulk) else None,
        "planned": restore.generation.entries.order_by("index")[:SHOWN] if restore.state == State.PREPARING else [],
        "names_form": names,
        "entries": entries,
        "after": after,
        "filtered": any(request.GET.values()),
    }
    return render(request, "changes/bulk/detail.html", context, status=status)


def _form(restore: Restore) -> forms.Form | None:
    """The form of the next step."""
    match restore.state:
        case State.PREPARED:
            return SubmitBulkForm()
        case State.APPROVED:
            return BulkStartForm(restore=restore)
        case State.DONE:
            return AcceptBulkForm()
    return None


def _why_not(restore: Restore, person: Person) -> str:
    """The reason why this person cannot take the next step; empty if they can."""
    approval = restore.approval
    if approval is None or restore.state not in {State.APPROVED, State.WRITING}:
        return ""
    if approval.approver_id == person.pk:
        return _("You approved this; another person must start it.")
    if restore.state == State.APPROVED and approval.use_by and clock.seconds_until(approval.use_by) <= 0:
        return _("The deadline for using the approval has passed. Withdraw it and submit again.")
    return ""


def _run(restore: Restore) -> Run:
    """The current or last run: the writing, or before it the backup or its verification."""
    return restore.run or restore.generation.work


def _bulk_change(pk: int) -> Restore:
    related = ("environment", "namespace", "generation__run", "generation__verify_run", "bulk__family", "run")
    more = ("approval__approver", "bulk__repeats__restore__environment", "bulk__accepted_by")
    found = Restore.objects.exclude(operation=Restore.Operation.RESTORE).select_related(*related, *more)
    return get_object_or_404(found, pk=pk)
