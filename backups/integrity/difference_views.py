"""The steps after a failed check: both values, likely causes, files, the person who looks into it, the outcome."""

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from backups.integrity import cases, import_file, next_steps, values as check_values
from backups.integrity.forms import CaseForm, DifferenceFilter, OutcomeForm
from backups.integrity.views import PAGE, check_of, check_page, likely
from backups.models import Check
from kvops.people.signin import person_of
from kvops.web import files as web_files
from kvops.web.acting import On, refusals_shown
from kvops.web.files import as_file, streamed
from kvops.wording import spelled

COLUMNS = ("key", "row", "difference", "field")
NOT_KEPT = "not_kept"
"""The word in the column `difference` of a CSV's last row, if there are more differences than were kept by name."""


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def values(request: HttpRequest, pk: int, difference: int) -> HttpResponse:
    """Show a difference with its values on all sides. The values are in this answer and nowhere else."""
    check = check_of(pk)
    asked = get_object_or_404(check.found, pk=difference)
    asked.check_run = check
    with refusals_shown(request, _on(check)):
        found = check_values.view_values(asked, by=person_of(request))
        context = {
            "found": found,
            "check": check,
            "environment": check.environment,
            "advice": next_steps.AFTER[found.likely.cause],
            "case": cases.open_case(check),
            "importable": import_file.importable(check),
            "may_operate": request.user.has_perm("kvops.operate"),
        }
        return render(request, "integrity/values.html", context)
    return redirect("backups:check", pk)


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def explain(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the likely causes of one page of differences; for those of fields the values are read."""
    check = check_of(pk)
    differences = list(DifferenceFilter(request.GET, check=check).differences()[:PAGE])
    with refusals_shown(request, _on(check)):
        found = check_values.likely_causes(check, differences)
        context = {"check": check, "environment": check.environment, **likely(differences, found)}
        return render(request, "integrity/causes.html", context)
    return redirect("backups:check", pk)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The differences that match the filters of the address, as CSV or JSON."""
    check = check_of(pk)
    kept = check.found.count()
    head = {
        "check": check.pk,
        "dataset": check.dataset.name,
        "environment": check.environment.slug,
        "differences": check.differences,
        "kept_by_name": kept,
        "complete": kept >= check.differences,
    }
    rows = _rows(request, check, check.differences - kept)
    return as_file(request, f"check-{check.pk}", head, COLUMNS, rows)


def _rows(request: HttpRequest, check: Check, missing: int) -> Iterator[list[web_files.Cell]]:
    for one in DifferenceFilter(request.GET, check=check).differences().iterator(2_000):
        yield [one.name, one.row, one.kind, one.field]
    if missing > 0 and request.GET.get("format") != "json":  # JSON says it in its head
        sentence = ngettext(
            "%(n)s more difference was counted and not kept by name.",
            "%(n)s more differences were counted and not kept by name.",
            missing,
        )
        yield [sentence % {"n": spelled(missing)}, "", NOT_KEPT, ""]


@require_POST
@permission_required("kvops.operate", raise_exception=True)
@never_cache
def import_sql(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream the D1 import file of the check."""
    check = check_of(pk)
    with refusals_shown(request, _on(check)):
        lines = import_file.import_lines(check, by=person_of(request))
        return streamed(lines, import_file.file_name(check), "application/sql")
    return redirect("backups:check", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def assign(request: HttpRequest, pk: int) -> HttpResponse:
    """Name the person who looks into the differences, or change person, day or note."""
    check = check_of(pk)
    form = CaseForm(request.POST, case=cases.open_case(check))
    if form.is_valid():
        with refusals_shown(request, _on(check), form=form):
            case = cases.assign(check, by=person_of(request), **form.cleaned_data)
            messages.success(request, _("%(name)s looks into it.") % {"name": case.owner.name})
            return redirect("backups:check", pk)
    return check_page(request, check, case_form=form, status=422)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def settle(request: HttpRequest, pk: int) -> HttpResponse:
    """Record the outcome of the case."""
    check, form = check_of(pk), OutcomeForm(request.POST)
    if form.is_valid():
        with refusals_shown(request, _on(check), form=form):
            case = cases.settle(check, by=person_of(request), **form.cleaned_data)
            done = _("The case is closed.") if case.closed_at else _("The outcome is recorded. The case stays open.")
            messages.success(request, done)
            return redirect("backups:check", pk)
    return check_page(request, check, outcome_form=form, status=422)


def _on(check: Check) -> On:
    return On(check.environment, f"check:{check.pk}")
