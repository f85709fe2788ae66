"""Backups: the list, a new one, and plain files that still need an encrypted place."""

import csv
from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from backups.generations import (
    contents as generation_contents,
    coverage as family_coverage,
    encryption,
    start as generation_start,
)
from backups.generations.forms import BackupForm, GenerationFilter
from backups.models import Generation, PlainDump
from kvops.inventory import browse
from kvops.models import Category
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.web.acting import refuse

PAGE = 50
SHOWN = 20
"""How many plain files without a place are listed at most."""

COLUMNS = (
    *("id", "environment", "binding", "prefixes", "category", "purpose", "status", "problem"),
    *("keys", "bytes", "expired", "vanished", "started_at", "finished_at", "verified_at", "retain_until"),
    *("made_by", "bucket", "manifest", "manifest_sha256", "digest_root", "recipients"),
)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """What can be restored, what is still to do, and all generations, newest first."""
    form = GenerationFilter(request.GET)
    found = list(form.generations()[: PAGE + 1])
    context = {
        "form": form,
        "generations": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "filtered": any(request.GET.values()),
        "stale_before": generation_contents.stale_before(),
        "coverage": family_coverage.of_all(),
        "dumps": PlainDump.objects.filter(kept_at="").select_related("namespace__environment").order_by("pk")[:SHOWN],
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "backups/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def table(request: HttpRequest) -> StreamingHttpResponse:
    """All generations that the filters of the address let through, as CSV."""
    found = GenerationFilter(request.GET).generations().iterator(1_000)
    response = StreamingHttpResponse(_lines(found), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="generation_start.csv"'
    return response


class _Line:
    """What `csv` writes to: it gives the line back."""

    def write(self, line: str, /) -> str:
        return line


def _lines(found: Iterator[Generation]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff"  # Excel takes the file for UTF-8 only with it
    yield str(writer.writerow(COLUMNS))
    for row in found:
        yield str(writer.writerow([_inert(cell) for cell in _cells(row)]))


def _cells(row: Generation) -> list[object]:
    who = [row.actor, row.bucket, row.manifest_key, row.manifest_sha256, row.digest_root, " ".join(row.recipients)]
    when = [at and at.isoformat() for at in (row.started_at, row.finished_at, row.verified_at, row.retain_until)]
    counts = [row.keys, row.bytes, row.expired, row.vanished]
    what = [row.environment.slug, row.namespace.binding, " ".join(row.prefixes), row.category, row.purpose]
    return [row.pk, *what, row.status, row.problem, *counts, *when, *who]


def _inert(cell: object) -> object:
    """A text that a spreadsheet would take for a formula, with a quote before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Choose what to copy, see what that covers, start."""
    if request.method != "POST":
        form = BackupForm.asked(request.GET)
        return _new(request, form)
    form = BackupForm(request.POST)
    if not form.is_valid():
        return _new(request, form, status=422)
    person, namespace = person_of(request), form.cleaned_data["namespace"]
    try:
        generation = generation_start.start_backup(
            namespace, prefixes=form.cleaned_data["prefix"], actor=person.actor, person=person
        )
    except Refused as refused:
        form.add_error(None, str(refused))
        refuse(request, refused, namespace.environment, f"namespace:{namespace.pk}")
        return _new(request, form, status=422)
    messages.success(request, _("The backup is being made."))
    return redirect("backups:generation", generation.pk)


def _new(request: HttpRequest, form: BackupForm, *, status: int = 200) -> HttpResponse:
    form.is_valid()
    chosen = getattr(form, "cleaned_data", {})  # there is none of a form that was not filled in
    context: dict[str, object] = {"form": form, "encryption": encryption.possible(), "how": encryption.HOW}
    if {"namespace", "prefix"} <= chosen.keys():
        rows = generation_contents.coverage(chosen["namespace"], chosen["prefix"])
        context |= {
            "namespace": chosen["namespace"],
            "environment": chosen["namespace"].environment,
            "rows": rows,
            "scan": browse.newest_scan(chosen["namespace"]),
            "only_caches": bool(rows) and all(row.category == Category.CACHE for row in rows),
            "secret": sum(row.keys for row in rows if row.secret),
        }
    return render(request, "backups/new.html", context, status=status)
