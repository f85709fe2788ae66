"""Restores: the list, a new one from a backup, one page with every step of one restore, and the undo of a deletion."""

from collections.abc import Iterator
from operator import attrgetter

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.cleanup.stage_views import take_on_stage
from backups.comparisons import start as comparison_start
from backups.comparisons.views import difference
from backups.models import CleanupStage, Generation, Restore, RestoreEntry
from backups.restores import requests as restore_requests, selection as restore_selection, undo as stage_undo
from backups.restores.forms import RestoreFilter, RestoreForm, RestoreNamesFilter, RestoreStartForm, SubmitForm
from backups.restores.moves import RestoreRefused
from kvops import clock
from kvops.models import Person, Run
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.files import Cell, as_file
from kvops.web.pages import listed, live_part, page_of
from kvops.wording import stepped

PAGE = 50
UNKNOWN = 20
"""Names; the page lists at most this many that the backup lacks."""
COMPARISONS = 5
COLUMNS = ("name", "size", "found_before", "outcome", "compared_after")
State = Restore.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List restores and undos, newest first."""
    form = RestoreFilter(request.GET)
    context = listed(request, form, "restores", form.restores(), PAGE)
    return render(request, "restores/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose the keys of a backup to restore; the comparison with KV then begins."""
    generation = get_object_or_404(Generation.objects.select_related("environment", "namespace"), pk=pk)
    data = request.POST if request.method == "POST" else None
    asked = {"only": request.GET.get("name", ""), "on_conflict": request.GET.get("on_conflict", "")}
    form = RestoreForm(data, generation=generation, **asked)
    if form.is_valid():
        person = person_of(request)
        with refusals_shown(request, On(generation.environment, f"generation:{pk}"), form=form):
            made = restore_selection.prepare_restore(generation, **form.wanted(), actor=person.actor, person=person)
            messages.success(request, _("The keys are being compared with KV. Nothing is written yet."))
            return redirect("backups:restore", made.pk)
    context = {"form": form, "generation": generation, "environment": generation.environment, "shown": UNKNOWN}
    return render(request, "restores/new.html", context, status=422 if form.is_bound else 200)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one restore: its expected effect, the next action, and the result for every name."""
    return _page(request, _restore(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run or the decision, the whole page is loaded again."""
    restore = _restore(pk)
    run = _run(restore)
    context = {"restore": restore, "run": run}
    moving = restore.state == State.SUBMITTED or (run is not None and run.is_open)
    return live_part(request, "restores/detail.html", context, moving=moving)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def names(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The names that match the filters of the address, with their results, as CSV or JSON."""
    restore = _restore(pk)
    rows = _rows(restore, RestoreNamesFilter(request.GET).entries(restore).iterator(2_000))
    head = {"restore": restore.pk, "backup": restore.generation_id, "environment": restore.environment.slug}
    head |= {"binding": restore.namespace.binding, "state": restore.state, "names": restore.names}
    return as_file(request, f"restore-{pk}", head, COLUMNS, rows)


def _rows(restore: Restore, entries: Iterator[RestoreEntry]) -> Iterator[list[Cell]]:
    for entry in entries:
        size = stepped(entry.size, restore.generation.encrypted)
        yield [entry.name, size, entry.found, entry.outcome, entry.compared]


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def value(request: HttpRequest, pk: int, index: int) -> HttpResponse:
    """Show a key in the backup beside its current value in KV. The values are in this answer and nowhere else."""
    restore = _restore(pk)
    asked = get_object_or_404(restore.entries, index=index)
    return difference(
        request, restore.generation, restore.namespace, asked.name, back=("backups:restore", (restore.pk,))
    )


def _look(restore: Restore, *, by: Person) -> None:
    """Compare the restored keys with KV."""
    if restore.state != State.DONE:
        raise RestoreRefused(_("Nothing was restored yet, so there is nothing to compare."))
    comparison_start.with_kv(restore.generation, restore.namespace, restore=restore, actor=by.actor, person=by)


def _compare(restore: Restore, *, by: Person) -> None:
    """Compare with KV again, or retry a failed comparison."""
    if restore.state == State.PREPARING and restore.preview_run:
        run_driver.resume(restore.preview_run, actor=by.actor)
    else:
        restore_selection.compare_again(restore, by=by)


def _resume(restore: Restore, *, by: Person) -> None:
    """Resume the writing after a failure or a stop."""
    if restore.run is None:
        raise RestoreRefused(_("There is no run to resume."))
    run_driver.resume(restore.run, actor=by.actor)


def _end(restore: Restore, *, by: Person) -> None:
    """Cancel the restore; if it was stopped or failed, write no further key."""
    if restore.state == State.WRITING:
        restore_requests.end_early(restore, by=by)
    else:
        restore_requests.give_up(restore, actor=by.actor)


STEPS: dict[str, Step[Restore]] = {
    "look": Step(_look, gettext_lazy("The restored keys are being compared with KV.")),
    "compare": Step(_compare, gettext_lazy("The keys are being compared with KV.")),
    "submit": Step(
        restore_requests.submit,
        gettext_lazy("Another person is asked to approve exactly this."),
        SubmitForm,
        ("reason",),
    ),
    "start": Step(
        restore_requests.start,
        gettext_lazy("The restore has begun."),
        form_of=lambda data, restore: RestoreStartForm(data, restore=restore),
    ),
    "again": Step(_resume, gettext_lazy("The run resumes where it stopped.")),
    "end": Step(_end, gettext_lazy("Nothing more is written.")),
}
UNDO = Step[CleanupStage](stage_undo.start_undo, gettext_lazy("The deleted keys are being restored."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the restore."""
    restore = _restore(pk)
    return act(
        request,
        STEPS[step],
        restore,
        on=On(restore.environment, f"restore:{pk}"),
        to=reverse("backups:restore", args=[pk]),
        show=lambda form, status: _page(request, _restore(pk), form=form, status=status),
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Restore the deleted keys, under the approval of their deletion."""
    return take_on_stage(request, pk, UNDO)


def _page(request: HttpRequest, restore: Restore, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    """The page of a restore; `form` is a submitted form with the person's input."""
    person, names = person_of(request), RestoreNamesFilter(request.GET)
    entries, after = page_of(names.entries(restore), PAGE, attrgetter("index"))
    run = _run(restore)
    result = run.result if run and restore.state == State.DONE else {}
    context = {
        "restore": restore,
        "environment": restore.environment,
        "run": run,
        "form": form or _form(restore),
        "why_not": _why_not(restore, person),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_view_values": request.user.has_perm("kvops.view_values"),
        "may_end": restore.state in {State.PREPARING, State.PREPARED} or _lies_still(restore),
        "lies_still": _lies_still(restore),
        "found": sorted(restore.found.items()),
        "results": [(kind, kind.label, n) for kind in RestoreEntry.Outcome if (n := result.get(kind))],
        "comparisons": restore.comparisons.select_related("run").order_by("-pk")[:COMPARISONS],
        "names_form": names,
        "entries": entries,
        "after": after,
        "filtered": any(request.GET.values()),
    }
    return render(request, "restores/detail.html", context, status=status)


def _form(restore: Restore) -> forms.Form | None:
    """The form of the next step."""
    if restore.state == State.PREPARED:
        return SubmitForm()
    return RestoreStartForm(restore=restore) if restore.state == State.APPROVED else None


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


def _lies_still(restore: Restore) -> bool:
    return restore.state == State.WRITING and restore.run is not None and restore.run.state in Run.RESUMABLE


def _run(restore: Restore) -> Run | None:
    """The current or last run of the restore."""
    return restore.run or restore.preview_run


def _restore(pk: int) -> Restore:
    related = ("environment", "namespace", "generation__environment", "generation__namespace", "stage__request")
    more = ("approval__approver", "approval__requester", "run", "preview_run", "safety")
    return get_object_or_404(Restore.objects.naming().restoring().select_related(*related, *more), pk=pk)
