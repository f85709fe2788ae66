"""The history of backups for auditors: timeline, table, files, a report; the deleted keys; the outcomes of a run."""

from collections.abc import Sequence
from datetime import date

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit.folding import folded
from audit.models import Head
from backups.history import deleted_keys, events as history_events, run_outcomes
from backups.history.events import BackupEvent, DayCount, TimelineLane
from backups.history.forms import BackupHistoryFilter, DeletedKeyFilter, everything
from kvops import wording
from kvops.inventory.views import sides
from kvops.models import PolicyVersion, Run
from kvops.web import files as web_files
from kvops.web.pages import page_of

PAGE = 50
READ = 200
"""Events. A page of the history reads at most so many, however many of them are of one backup."""
REPORTED = 80
"""Backups on a page of the report."""

COLUMNS = (
    *("entry", "at", "event", "action", "environment", "generation", "object", "binding", "prefixes", "category"),
    *("keys", "bytes", "actor", "why", "approval", "requested_by", "approved_by"),
)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the events of the backups, filtered and paged by the address."""
    form = BackupHistoryFilter(request.GET)
    scope = form.scope()
    context: dict[str, object] = {"form": form, "scope": scope, "filtered": any(request.GET.values())}
    context["period"] = form.period
    if scope:
        found = history_events.events(scope, before=form.cleaned_data["after"], limit=READ)
        lines, last, left = folded(found, PAGE, lambda event: event.generation.pk)
        counts = history_events.counts_by_day(scope)
        lanes = [scope.lane] if scope.lane else list(TimelineLane)
        context |= {
            "lines": lines,
            "after": last.entry.seq if last and (left or len(found) == READ) else None,
            "counts": counts,
            "lanes": lanes,
            "days": _days(counts, lanes),
            # A trend across different families would mean nothing.
            "trend": history_events.trend(scope) if scope.family else [],
        }
    return render(request, "history/index.html", context)


def _days(counts: Sequence[DayCount], lanes: Sequence[TimelineLane]) -> list[tuple[date, list[int]]]:
    """The days with an event, the newest first, each with the number of events of each of these lines."""
    events = {(one.day, one.lane): one.events for one in counts}
    days = dict.fromkeys(one.day for one in reversed(counts))
    return [(day, [events.get((day, lane), 0) for lane in lanes]) for day in days]


@require_safe
@permission_required("kvops.view", raise_exception=True)
def deleted(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show the keys that KVOps deleted from a namespace; filters and page come from the address."""
    namespace, others = sides(environment, binding)
    form = DeletedKeyFilter(request.GET.dict())
    keys, after = deleted_keys.page(namespace, limit=PAGE, **form.cleaned_data) if form.is_valid() else ([], None)
    context = {
        "namespace": namespace,
        "environment": namespace.environment,
        "form": form,
        "keys": keys,
        "after": after,
        "page_size": PAGE,
        "filtered": any(request.GET.values()),
        "others": others,
    }
    return render(request, "keys/deleted.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def file(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """The events of the address's filters, or all events, as a file."""
    scope = everything() if "all" in request.GET else BackupHistoryFilter(request.GET).scope()
    if scope is None:
        raise Http404
    rows = map(_cells, history_events.all_events(scope))
    head = {"since": scope.since.isoformat(), "until": scope.until.isoformat()}
    return web_files.table_file(kind, "backup-history", head, COLUMNS, rows)


def _cells(event: BackupEvent) -> list[web_files.Cell]:
    entry, backup, approval = event.entry, event.generation, event.approval
    return [
        *(entry.seq, entry.at.isoformat(), event.lane.value, entry.action, entry.environment),
        *(
            backup.pk,
            backup.stem,
            backup.namespace.binding,
            " ".join(backup.prefixes),
            backup.category,
            backup.keys,
            wording.stepped(backup.bytes, backup.encrypted),
        ),
        *(entry.actor, event.why, approval.pk if approval else None),
        *((str(approval.requester), str(approval.approver or "")) if approval else (None, None)),
    ]


@require_safe
@permission_required("kvops.view", raise_exception=True)
def outcomes(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The outcome of a deletion, restore or bulk change for each key, as CSV."""
    run = get_object_or_404(Run, pk=pk)
    if not run_outcomes.has_outcomes(run):
        raise Http404
    return web_files.table_file("csv", f"run-{pk}-outcomes", {}, ("name", "outcome"), run_outcomes.outcomes_of(run))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def report(request: HttpRequest) -> HttpResponse:
    """A report to print: the backups that existed in a period, their times, and the people behind each deletion."""
    form = BackupHistoryFilter(request.GET)
    scope = form.scope()
    context: dict[str, object] = {"form": form, "scope": scope, "now": timezone.now(), "head": Head.objects.first()}
    if scope:
        found = history_events.existed(scope, after=form.cleaned_data["after"] or 0, limit=REPORTED + 1)
        rows, after = page_of(found, REPORTED, lambda row: row.generation.pk)
        context |= {
            "rows": rows,
            "after": after,
            "policy": PolicyVersion.objects.order_by("-number").first(),
        }
    return render(request, "history/report.html", context)
