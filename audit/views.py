"""The pages of the audit log: read only, for everyone with the right to see it."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Concatenate

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from audit import reading
from audit.files import csv_table, json_rows, streamed
from audit.forms import FilterForm
from audit.models import Entry
from audit.subjects import known

PAGE = 50


def _readers_only[**P](
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.has_perm("audit.view_entry"):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


@require_safe
@_readers_only
def entries(request: HttpRequest) -> HttpResponse:
    """List entries, newest first; filters and page come from the address."""
    form = FilterForm(request.GET)
    before = _sequence(request.GET["after"]) if "after" in request.GET else None
    page = reading.page(form, before=before, size=PAGE)
    context = {
        "form": form,
        "lines": page.lines,
        "entries": page.entries,
        "titles": known().titles(entry.subject for entry in page.entries),
        "after": page.after,
        "searched": page.searched,
        "tree": form.tree_of_subjects,
        "filtered": any(request.GET.values()),
        "verified": reading.last_verification(),
    }
    return render(request, "audit/list.html", context)


@require_safe
@_readers_only
def file(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """The entries that match the filters of the address as a file; without filters, all of them."""
    form = FilterForm(request.GET)
    if not form.is_valid():
        raise Http404
    found = reading.rows(form)
    if kind == "csv":
        return streamed(csv_table(reading.COLUMNS, map(reading.cells, found)), "audit-log.csv", "text/csv")
    return streamed(json_rows(map(reading.fields, found)), "audit-log.jsonl", "application/jsonl")


@require_safe
@_readers_only
def entry(request: HttpRequest, seq: int) -> HttpResponse:
    """Show one entry with its place in the chain."""
    found = get_object_or_404(Entry, seq=seq)
    titles = known().titles([found.subject])
    told = titles.get(found.subject, found.subject_label)
    context = {
        "entry": found,
        "titles": titles,
        "environments": known().environments(),
        "recorded": found.subject_label if told != found.subject_label else "",
        "details": json.dumps(found.details, ensure_ascii=False, indent=2, sort_keys=True),
        "prev_hash": bytes(found.prev_hash).hex(),
        "row_hash": bytes(found.row_hash).hex(),
        "newer": Entry.objects.filter(seq=seq + 1).exists(),
    }
    return render(request, "audit/detail.html", context)


def _sequence(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Http404 from error
