"""Restores: the list, a new one from a backup, one page with every step of one restore, and the undo of a deletion."""

from collections.abc import Callable, Iterator

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.cleanup.cards import stage_or_404
from backups.cleanup.views import act_on_cleanup
from backups.comparisons import start as comparison_start
from backups.comparisons.views import difference
from backups.models import Generation, Restore, RestoreEntry
from backups.restores import requests as restore_requests, selection as restore_selection, undo as stage_undo
from backups.restores.forms import RestoreFilter, RestoreForm, RestoreNamesFilter, RestoreStartForm, SubmitForm
from backups.restores.moves import RestoreRefused
from kvops import clock
from kvops.models import Person, Run
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import act, refuse
from kvops.web.files import Cell, as_file

PAGE = 50
UNKNOWN = 20
"""Names that the copy does not hold are listed up to here."""
COMPARISONS = 5
COLUMNS = ("name", "size", "found_before", "outcome", "compared_after")
State = Restore.State


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List restores and undos, newest first."""
    form = RestoreFilter(request.GET)
    found = list(form.restores()[: PAGE + 1])
    context = {
        "form": form,
        "restores": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
    }
    return render(request, "restores/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose what of a copy is put back; the comparison with KV then begins."""
    generation = get_object_or_404(Generation.objects.select_related("environment", "namespace"), pk=pk)
    data = request.POST if request.method == "POST" else None
    form = RestoreForm(data, generation=generation, only=request.GET.get("name", ""))
    if form.is_valid():
        person = person_of(request)
        try:
            made = restore_selection.prepare_restore(generation, **form.wanted(), actor=person.actor, person=person)
        except RestoreRefused as refused:
            form.add_error(None, str(refused))
            refuse(request, refused, generation.environment, f"generation:{pk}")
        else:
            messages.success(request, _("The keys are being compared with KV. Nothing is written yet."))
            return redirect("backups:restore", made.pk)
    context = {"form": form, "generation": generation, "environment": generation.environment, "shown": UNKNOWN}
    return render(request, "restores/new.html", context, status=422 if form.is_bound else 200)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one restore: what would happen, what can be done next, what became of every name."""
    return _page(request, _restore(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that moves; when the work is over, the whole page is loaded again."""
    restore = _restore(pk)
    run = _run(restore)
    response = render(request, "restores/detail.html#live", {"restore": restore, "run": run})
    if run is None or not run.is_open:
        response["HX-Refresh"] = "true"
    return response


@require_safe
@permission_required("kvops.view", raise_exception=True)
def names(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The names that the filters of the address let through, with what became of each, as CSV or JSON."""
    restore = _restore(pk)
    rows = _rows(RestoreNamesFilter(request.GET).entries(restore).iterator(2_000))
    head = {"restore": restore.pk, "backup": restore.generation_id, "environment": restore.environment.slug}
    head |= {"binding": restore.namespace.binding, "state": restore.state, "names": restore.names}
    return as_file(request, f"restore-{pk}", head, COLUMNS, rows)


def _rows(entries: Iterator[RestoreEntry]) -> Iterator[list[Cell]]:
    for entry in entries:
        yield [entry.name, entry.size, entry.found, entry.outcome, entry.compared]


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def value(request: HttpRequest, pk: int, index: int) -> HttpResponse:
    """Show a key as the copy holds it beside what KV holds now. The values are in this answer and nowhere else."""
    restore = _restore(pk)
    asked = get_object_or_404(restore.entries, index=index)
    return difference(
        request, restore.generation, restore.namespace, asked.name, back=("backups:restore", (restore.pk,))
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def look(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare what was put back with what KV holds now."""
    restore, person = _restore(pk), person_of(request)

    def compare_now() -> None:
        if restore.state != State.DONE:
            raise RestoreRefused(_("Nothing was restored yet, so there is nothing to compare."))
        comparison_start.with_kv(
            restore.generation, restore.namespace, restore=restore, actor=person.actor, person=person
        )

    return _act(request, restore, compare_now, done=_("The restored keys are being compared with KV."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare with KV again, or try the comparison again."""
    restore, person = _restore(pk), person_of(request)

    def again() -> None:
        if restore.state == State.PREPARING and restore.preview_run:
            run_driver.resume(restore.preview_run, actor=person.actor)
        else:
            restore_selection.compare_again(restore, by=person)

    return _act(request, restore, again, done=_("The keys are being compared with KV."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask another person to approve."""
    restore, form, person = _restore(pk), SubmitForm(request.POST), person_of(request)
    return _act(
        request,
        restore,
        lambda: restore_requests.submit(restore, reason=form.cleaned_data["reason"], by=person),
        done=_("Another person is asked to approve exactly this."),
        form=form,
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Start the restore that was approved."""
    restore, person = _restore(pk), person_of(request)
    form = RestoreStartForm(request.POST, restore=restore)
    return _act(
        request,
        restore,
        lambda: restore_requests.start(restore, by=person),
        done=_("The restore has begun."),
        form=form,
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Let the writing go on after it failed or was stopped."""
    restore, person = _restore(pk), person_of(request)

    def resume() -> None:
        if restore.run is None:
            raise RestoreRefused(_("There is no run to resume."))
        run_driver.resume(restore.run, actor=person.actor)

    return _act(request, restore, resume, done=_("The run resumes where it stopped."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """Give it up, or write nothing more of one that lies still."""
    restore, person = _restore(pk), person_of(request)

    def stop() -> None:
        if restore.state == State.WRITING:
            restore_requests.end_early(restore, by=person)
        else:
            restore_requests.give_up(restore, actor=person.actor)

    return _act(request, restore, stop, done=_("Nothing more is written."))


def _act(
    request: HttpRequest, restore: Restore, do: Callable[[], object], *, done: str, form: forms.Form | None = None
) -> HttpResponse:
    return act(
        request,
        do,
        on=(restore.environment, f"restore:{restore.pk}"),
        done=done,
        to=reverse("backups:restore", args=[restore.pk]),
        show=lambda form, status: _page(request, _restore(restore.pk), form=form, status=status),
        form=form,
    )


def _page(request: HttpRequest, restore: Restore, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    """The one page; `form` is one as the person left it."""
    person, names = person_of(request), RestoreNamesFilter(request.GET)
    found = list(names.entries(restore)[: PAGE + 1])
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
        "entries": found[:PAGE],
        "after": found[PAGE - 1].index if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
    }
    return render(request, "restores/detail.html", context, status=status)


def _form(restore: Restore) -> forms.Form | None:
    """What the next step asks a person to fill in."""
    if restore.state == State.PREPARED:
        return SubmitForm()
    return RestoreStartForm(restore=restore) if restore.state == State.APPROVED else None


def _why_not(restore: Restore, person: Person) -> str:
    """Why this person cannot take the next step, empty when they can."""
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
    """What works for the restore now, or worked last."""
    return restore.run or restore.preview_run


def _restore(pk: int) -> Restore:
    related = ("environment", "namespace", "generation__environment", "generation__namespace", "stage__request")
    more = ("approval__approver", "approval__requester", "run", "preview_run", "safety")
    return get_object_or_404(Restore.objects.naming().select_related(*related, *more), pk=pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Put back what the deletion deleted, under its own approval."""
    stage, person = stage_or_404(pk), person_of(request)
    done = _("The deleted keys are being restored.")
    return act_on_cleanup(
        request, stage.request, None, lambda: stage_undo.start_undo(stage, by=person), done=done, stage=stage
    )
