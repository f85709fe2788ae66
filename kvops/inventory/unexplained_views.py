"""Unexplained deletions and unexpected keys: the scans that found them, the names, and a person's note."""

from operator import attrgetter

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.inventory import past_kvops, unexplained as unexplained_deletions
from kvops.inventory.forms import AcknowledgeForm, UnexplainedFilter, UnexplainedNamesFilter
from kvops.inventory.merge import UNEXPECTED_SHOWN
from kvops.models import Scan
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.files import names_file
from kvops.web.pages import listed, page_of

PAGE = 50


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the scans that found unexplained deletions or unexpected keys, newest first."""
    form = UnexplainedFilter(request.GET)
    context = listed(
        request, form, "scans", form.scans().select_related("namespace__environment", "acknowledged_by"), PAGE
    )
    return render(request, "unexplained/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the unexplained deletions or the unexpected keys of one scan."""
    return _page(request, _scan(pk), AcknowledgeForm())


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Stream the names that match the filter as a file."""
    scan = _scan(pk)
    form = UnexplainedNamesFilter(request.GET)
    kind = "unexpected" if form.shows_new(scan) else "unexplained"
    name = f"{scan.namespace.environment.slug}-{scan.namespace.binding}-{kind}-{pk}"
    names = form.names(scan).values_list("name", flat=True)
    return names_file(request, name, names.iterator(10_000))


@require_POST
@permission_required("kvops.acknowledge", raise_exception=True)
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a person's findings."""
    scan, form = _scan(pk), AcknowledgeForm(request.POST)
    if not form.is_valid():
        return _page(request, scan, form, status=422)
    with refusals_shown(request, On(scan.namespace.environment, f"unexplained:{pk}")):
        unexplained_deletions.acknowledge_deletions(scan, by=person_of(request), note=form.cleaned_data["note"])
        messages.success(request, _("Your note is recorded."))
    return redirect("unexplained-scan", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask_cloudflare(request: HttpRequest, pk: int) -> HttpResponse:
    """Show Cloudflare's statement about the time between the two scans."""
    scan = _scan(pk)
    with refusals_shown(request, On(scan.namespace.environment, f"unexplained:{pk}")):
        return _page(request, scan, AcknowledgeForm(), statement=past_kvops.ask(scan, by=person_of(request)))
    return redirect("unexplained-scan", pk)


def _scan(pk: int) -> Scan:
    related = ("namespace__environment", "acknowledged_by", "run")
    return get_object_or_404(Scan.objects.odd().select_related(*related), pk=pk)


def _page(
    request: HttpRequest,
    scan: Scan,
    form: AcknowledgeForm,
    status: int = 200,
    statement: past_kvops.CloudflareStatement | None = None,
) -> HttpResponse:
    names = UnexplainedNamesFilter(request.GET)
    found, after = page_of(names.names(scan), PAGE, attrgetter("name"))
    context = {
        "scan": scan,
        "statement": statement,
        "may_operate": request.user.has_perm("kvops.operate"),
        "environment": scan.namespace.environment,
        "names_form": names,
        "new": names.shows_new(scan),
        "kept": UNEXPECTED_SHOWN,
        "form": form,
        "found": found,
        "after": after,
        "may_acknowledge": request.user.has_perm("kvops.acknowledge"),
    }
    return render(request, "unexplained/detail.html", context, status=status)
