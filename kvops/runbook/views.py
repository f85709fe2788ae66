"""The pages of the runbook."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.actions import Action
from audit.models import Entry
from kvops.models import RunbookTodo
from kvops.people.signin import person_of
from kvops.runbook import by_hand, entries as runbook_entries, export, notes as runbook_notes, procedures, todo
from kvops.runbook.entries import EntryKind, RunbookEntry
from kvops.runbook.forms import ByHandForm, EntryNoteForm, RunbookFilter, TodoFilter, TodoForm
from kvops.subjects import tree as subject_tree
from kvops.web.acting import On, refusals_shown
from kvops.web.files import streamed
from kvops.web.pages import listed, page_of

PAGE = 50


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the entries, newest first; the filters are in the address."""
    form = RunbookFilter(request.GET)
    search = form.search()
    rows, after = page_of(search.entries(PAGE + 1) if search else [], PAGE)
    context = {
        "form": form,
        "entries": runbook_entries.shown(rows),
        "after": after,
        "filtered": any(request.GET.values()),
        "may_keep": request.user.has_perm("kvops.keep_runbook"),
    }
    return render(request, "runbook/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest) -> StreamingHttpResponse:
    """Stream the filtered list as Markdown."""
    search = RunbookFilter(request.GET).search()
    found = search.entries(export.MOST + 1) if search else ()
    return _markdown(export.of_list(runbook_entries.shown(found)), "runbook")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, number: int) -> HttpResponse:
    """Show one entry: its steps, timeline, notes and to-dos."""
    return _page(request, _entry(number))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def entry_file(_request: HttpRequest, number: int) -> StreamingHttpResponse:
    """Stream one entry as Markdown."""
    return _markdown(export.of_entry(_entry(number)), f"runbook-{number}")


@require_POST
@permission_required("kvops.note", raise_exception=True)
def note(request: HttpRequest, number: int) -> HttpResponse:
    """Add a note to an entry."""
    entry, form = _entry(number), EntryNoteForm(request.POST)
    if form.is_valid():
        with refusals_shown(request, _on(entry), form=form):
            runbook_notes.add(entry, text=form.cleaned_data["text"], by=person_of(request))
            messages.success(request, _("Your note is in the runbook."))
            return redirect("runbook-entry", number)
    return _page(request, entry, note_form=form, status=422)


@require_POST
@permission_required("kvops.keep_runbook", raise_exception=True)
def add_todo(request: HttpRequest, number: int) -> HttpResponse:
    """Add a to-do to an entry."""
    entry, form = _entry(number), TodoForm(request.POST)
    if form.is_valid():
        with refusals_shown(request, _on(entry), form=form):
            todo.add(entry, by=person_of(request), **form.cleaned_data)
            messages.success(request, _("The to-do is added."))
            return redirect("runbook-entry", number)
    return _page(request, entry, todo_form=form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.keep_runbook", raise_exception=True)
def state_by_hand(request: HttpRequest) -> HttpResponse:
    """State what was done outside KVOps."""
    person = person_of(request)
    form = ByHandForm(request.POST if request.method == "POST" else None, initial={"person": person.pk})
    if request.method == "POST" and form.is_valid():
        with refusals_shown(request, On(form.cleaned_data["environment"], "runbook"), form=form):
            made = by_hand.state(by=person, **form.cleaned_data)
            messages.success(request, _("The operation is in the runbook."))
            return redirect("runbook-stated", made.pk)
    return render(request, "runbook/by_hand.html", {"form": form}, status=422 if form.is_bound else 200)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def stated(_request: HttpRequest, pk: int) -> HttpResponse:
    """Lead to the entry of a stated operation."""
    found = get_object_or_404(Entry, subject=f"stated:{pk}", action=Action.RUNBOOK_STATED)
    return redirect("runbook-entry", found.seq)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def todos(request: HttpRequest) -> HttpResponse:
    """List the open to-dos of everybody or of one owner, the next one first."""
    form = TodoFilter(request.GET)
    valid = form.is_valid()
    start = form.cleaned_data.get("after") or 0
    found = list(enumerate(todo.open_todos(form.cleaned_data["owner"]) if valid else [], 1))[start:]
    context = listed(request, form, "todos", found, PAGE, place=lambda row: row[0])
    context |= {"today": todo.today(), "may_keep": request.user.has_perm("kvops.keep_runbook")}
    return render(request, "runbook/todos.html", context)


@require_POST
@permission_required("kvops.keep_runbook", raise_exception=True)
def todo_done(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark a to-do as done."""
    found = get_object_or_404(RunbookTodo.objects.select_related("owner"), pk=pk)
    with refusals_shown(request, On(None, f"todo:{pk}")):
        todo.finish(found, by=person_of(request))
        messages.success(request, _("The to-do is done."))
    return redirect("runbook-entry", found.entry)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def all_procedures(request: HttpRequest) -> HttpResponse:
    """Show every procedure with its steps."""
    return render(request, "runbook/procedures.html", {"procedures": procedures.current()})


def _entry(number: int) -> RunbookEntry:
    found = runbook_entries.entry_of(number)
    if found is None:
        raise Http404
    return found


def _on(entry: RunbookEntry) -> On:
    return On(entry.environment, entry.begun.subject, entry.begun.subject_label)


def _markdown(lines: export.Lines, name: str) -> StreamingHttpResponse:
    return streamed(lines, f"{name}.md", "text/markdown")


def _page(
    request: HttpRequest,
    entry: RunbookEntry,
    *,
    note_form: Form | None = None,
    todo_form: Form | None = None,
    status: int = 200,
) -> HttpResponse:
    timeline, more = entry.timeline()
    context = {
        "entry": entry,
        "environment": entry.environment,
        "stated": entry.stated,
        "is_operation": entry.kind == EntryKind.OPERATION,
        "subject_url": subject_tree.address(entry.begun.subject),
        "timeline": [(one, export.place_of(one)) for one in timeline],
        "more": more,
        "titles": subject_tree.titles(one.subject for one in timeline),
        "steps": entry.steps(),
        "notes": [(one, runbook_notes.rendered(one.text)) for one in entry.notes()],
        "todos": entry.todos(),
        "note_form": note_form or EntryNoteForm(),
        "todo_form": todo_form or TodoForm(initial={"owner": person_of(request).pk}),
        "todo_typed": todo_form is not None,
        "may_note": request.user.has_perm("kvops.note"),
        "may_keep": request.user.has_perm("kvops.keep_runbook"),
    }
    return render(request, "runbook/detail.html", context, status=status)
