"""Unexplained deletions: the scans that found them, the names, and a person's note."""

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audit import log
from audit.actions import Action
from kvops.inventory import unexplained as unexplained_deletions
from kvops.inventory.unexplained_forms import AcknowledgeForm, UnexplainedFilter, UnexplainedNamesFilter
from kvops.models import Scan
from kvops.people.signin import person_of
from kvops.web import files as web_files
from kvops.wording import english

PAGE = 50
FORMATS = {"jsonl": (web_files.json_lines, "application/jsonl"), "csv": (web_files.csv_lines, "text/csv")}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the scans that found unexplained deletions, newest first."""
    form = UnexplainedFilter(request.GET)
    found = form.scans().select_related("namespace__environment", "acknowledged_by")
    scans = list(found[: PAGE + 1])
    context = {
        "form": form,
        "scans": scans[:PAGE],
        "after": scans[PAGE - 1].pk if len(scans) > PAGE else None,
        "filtered": any(request.GET.values()),
    }
    return render(request, "unexplained/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the unexplained deletions of one scan."""
    return _page(request, _scan(pk), AcknowledgeForm())


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Stream the names that match the filter as a file."""
    scan = _scan(pk)
    ending = "csv" if request.GET.get("format") == "csv" else "jsonl"
    lines, content_type = FORMATS[ending]

    def names() -> Iterator[str]:
        yield from UnexplainedNamesFilter(request.GET).names(scan).values_list("name", flat=True).iterator(10_000)

    response = StreamingHttpResponse(lines(names()), content_type=f"{content_type}; charset=utf-8")
    name = f"{scan.namespace.environment.slug}-{scan.namespace.binding}-unexplained-{pk}.{ending}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_POST
@permission_required("kvops.acknowledge", raise_exception=True)
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a person's findings."""
    scan, person, form = _scan(pk), person_of(request), AcknowledgeForm(request.POST)
    if not form.is_valid():
        return _page(request, scan, form, status=422)
    try:
        unexplained_deletions.acknowledge_deletions(scan, by=person, note=form.cleaned_data["note"])
    except unexplained_deletions.AcknowledgeRefused as refused:
        messages.error(request, str(refused))
        details = {"reason": english(refused)[:500]}
        environment = scan.namespace.environment.slug
        log.refusal(
            Action.REFUSED, actor=person.actor, environment=environment, subject=f"unexplained:{pk}", details=details
        )
    else:
        messages.success(request, _("Your note is recorded."))
    return redirect("unexplained-scan", pk)


def _scan(pk: int) -> Scan:
    related = ("namespace__environment", "acknowledged_by", "run")
    return get_object_or_404(Scan.objects.select_related(*related).filter(unexplained__gt=0), pk=pk)


def _page(request: HttpRequest, scan: Scan, form: AcknowledgeForm, status: int = 200) -> HttpResponse:
    names = UnexplainedNamesFilter(request.GET)
    found = list(names.names(scan)[: PAGE + 1])
    context = {
        "scan": scan,
        "environment": scan.namespace.environment,
        "names_form": names,
        "form": form,
        "found": found[:PAGE],
        "after": found[PAGE - 1].name if len(found) > PAGE else None,
        "may_acknowledge": request.user.has_perm("kvops.acknowledge"),
    }
    return render(request, "unexplained/detail.html", context, status=status)
