"""Backups: the list, a new one, and plain files that still need an encrypted place."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from backups.bucket import protection as bucket_protection
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
from kvops.overview.estate import Estate
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import offer
from kvops.web.files import Cell, table_file
from kvops.web.pages import listed
from kvops.wording import stepped

PAGE = 40
"""Backups. With more of them the page would be larger than 300 KiB."""
SHOWN = 20
"""Plain files; the page lists at most this many that have no encrypted place."""

COLUMNS = (
    *("id", "environment", "binding", "prefixes", "category", "purpose", "status", "problem"),
    *("keys", "bytes", "expired", "vanished", "started_at", "finished_at", "verified_at", "retain_until"),
    *("made_by", "bucket", "manifest", "manifest_sha256", "digest_root", "recipients"),
)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the coverage, the to-do list, and all backups, newest first."""
    form = GenerationFilter(request.GET)
    estate = Estate()
    environments = list(estate.environments.values())
    protections = list(bucket_protection.known_of(environments).values())
    offer(form.fields["environment"], environments)
    dumps = PlainDump.objects.filter(kept_at="").select_related("namespace__environment").order_by("pk")
    context = {
        **listed(request, form, "generations", generation_contents.for_pages(form.generations()), PAGE),
        "now": estate.now,
        "families": estate.families,
        "coverage": family_coverage.of_all(estate),
        "protections": protections,
        "dumps": dumps[:SHOWN],
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_compare": request.user.has_perm("kvops.view_values"),
        "may_pin": request.user.has_perm("kvops.pin"),
    }
    return render(request, "backups/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def table(request: HttpRequest) -> StreamingHttpResponse:
    """All backups that match the filters of the address, as CSV."""
    found = GenerationFilter(request.GET).generations().iterator(1_000)
    return table_file("csv", "backups", {}, COLUMNS, map(_cells, found))


def _cells(row: Generation) -> list[Cell]:
    who = [row.actor, row.bucket, row.manifest_key, row.manifest_sha256, row.digest_root, " ".join(row.recipients)]
    when = [
        at.isoformat() if at else None for at in (row.started_at, row.finished_at, row.verified_at, row.retain_until)
    ]
    counts = [row.keys, stepped(row.bytes, row.encrypted), row.expired, row.vanished]
    what = [row.environment.slug, row.namespace.binding, " ".join(row.prefixes), row.category, row.purpose]
    return [row.pk, *what, row.status, row.problem, *counts, *when, *who]


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Choose prefixes, see their coverage, and start a backup."""
    if request.method != "POST":
        form = BackupForm.asked(request.GET)
        return _new(request, form)
    form = BackupForm(request.POST)
    if not form.is_valid():
        return _new(request, form, status=422)
    person, namespace = person_of(request), form.cleaned_data["namespace"]
    prefixes = form.cleaned_data["prefix"]
    with refusals_shown(request, On(namespace.environment, f"namespace:{namespace.pk}"), form=form):
        made = generation_start.start_backup(namespace, prefixes=prefixes, actor=person.actor, person=person)
        messages.success(request, _("The backup is being made."))
        return redirect("backups:generation", made.pk)
    return _new(request, form, status=422)


def _new(request: HttpRequest, form: BackupForm, *, status: int = 200) -> HttpResponse:
    form.is_valid()
    chosen = getattr(form, "cleaned_data", {})  # a form that was not filled in has no cleaned data
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
