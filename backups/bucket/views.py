"""The objects of the buckets as of their newest listings, people's notes on them, and a new listing."""

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext
from django.views.decorators.http import require_POST, require_safe

from audit.folding import folded
from audit.models import Entry
from backups.bucket import (
    notes as bucket_notes,
    protection as bucket_protection,
    reconcile as bucket_reconcile,
)
from backups.bucket.forms import NoteForm, ObjectFilter
from backups.models import StoredObject, UnfinishedUpload
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.web import files as web_files
from kvops.web.acting import On, refusals_shown
from kvops.wording import stepped

PAGE = 50
READ = 500
"""Objects. A page reads at most so many, however many of them are of one backup."""
UPLOADS = 20
"""Unfinished uploads; the page names at most this many."""
ENTRIES = 20
COLUMNS = (
    "environment", "bucket", "key", "size", "modified_at", "status", "status_at", "seen_at", "generation", "etag",
    "note", "noted_by", "noted_at",
)  # fmt: skip


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the objects of the buckets by name, filtered and paged by the address."""
    return _page(request, NoteForm())


def _page(request: HttpRequest, note_form: NoteForm, status: int = 200) -> HttpResponse:
    form = ObjectFilter(request.GET)
    found = list(form.objects()[:READ])
    lines, last, left = folded(found, PAGE, _backup_of)
    environments = list(Environment.objects.order_by("order"))
    known = bucket_protection.known_of(environments)
    context = {
        "form": form,
        "lines": lines,
        "after": last.pk if last and (left or len(found) == READ) else None,
        "filtered": any(request.GET.values()),
        "note_form": note_form,
        "buckets": [(one, known[one.environment.pk]) for one in bucket_reconcile.buckets(environments)],
        "uploads": UnfinishedUpload.objects.select_related("environment").order_by("key", "pk")[:UPLOADS],
        "notable": form.notable(),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_note": request.user.has_perm("kvops.acknowledge"),
    }
    return render(request, "storage/list.html", context, status=status)


def _backup_of(found: StoredObject) -> int | None:
    """The backup whose line an object shares. An object that needs attention keeps its own line."""
    return found.generation_id if found.status == StoredObject.Status.KNOWN else None


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one object: the store's description, its backup, and people's notes."""
    return _object(request, _found(pk), NoteForm())


@require_safe
@permission_required("kvops.view", raise_exception=True)
def table(request: HttpRequest) -> StreamingHttpResponse:
    """The filtered list as CSV, streamed."""
    return web_files.table_file("csv", "objects", {}, COLUMNS, _rows(ObjectFilter(request.GET).objects()))


def _rows(found: QuerySet[StoredObject]) -> Iterator[list[web_files.Cell]]:
    for row in found.iterator(10_000):
        times = {
            name: at and at.isoformat()
            for name in ("modified_at", "status_at", "seen_at", "noted_at")
            for at in [getattr(row, name)]
        }
        size = stepped(row.size, row.encrypted)
        yield [
            row.environment.slug, row.environment.r2_bucket, row.key, size, times["modified_at"], row.status,
            times["status_at"], times["seen_at"], row.generation_id, row.etag, row.note,
            str(row.noted_by) if row.noted_by else "", times["noted_at"],
        ]  # fmt: skip


@require_POST
@permission_required("kvops.acknowledge", raise_exception=True)
def note(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a person's note on one object."""
    found, form = _found(pk), NoteForm(request.POST)
    if not form.is_valid():
        return _object(request, found, form, status=422)
    only = StoredObject.objects.filter(pk=pk)
    _note(request, only, found.environment, form.cleaned_data["note"])
    return redirect("backups:storage_object", pk)


@require_POST
@permission_required("kvops.acknowledge", raise_exception=True)
def note_all(request: HttpRequest) -> HttpResponse:
    """Record a person's note on all objects of one environment that match the filter of the address."""
    chosen, form = ObjectFilter(request.GET), NoteForm(request.POST)
    environment = chosen.notable()
    if environment is None or not form.is_valid():
        return _page(request, form, status=422)
    _note(request, chosen.matching(), environment, form.cleaned_data["note"])
    return redirect(f"{reverse('backups:storage')}?{request.GET.urlencode()}")


def _note(request: HttpRequest, found: QuerySet[StoredObject], environment: Environment, text: str) -> None:
    with refusals_shown(request, On(environment, f"environment:{environment.slug}")):
        noted = bucket_notes.note_objects(found, environment, text=text, by=person_of(request))
        said = ngettext("Your note is on %(n)s object.", "Your note is on %(n)s objects.", noted)
        messages.success(request, said % {"n": noted})


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask_cloudflare(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask Cloudflare for the protection of the environment's bucket."""
    found = get_object_or_404(Environment, slug=environment)
    protection = bucket_protection.ask_cloudflare(found)
    if protection.known:
        messages.success(request, _("Cloudflare reported the bucket protection of %(name)s.") % {"name": found.name})
    else:
        messages.error(request, protection.why)
    return redirect("backups:storage")


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def reconcile(request: HttpRequest, environment: str) -> HttpResponse:
    """List the environment's bucket now and compare it with the backups."""
    found, person = get_object_or_404(Environment, slug=environment), person_of(request)
    with refusals_shown(request, On(found, f"environment:{environment}")):
        run = bucket_reconcile.start(found, actor=person.actor, person=person)
        messages.success(request, _("The bucket is being listed."))
        return redirect("run", run.pk)
    return redirect("backups:storage")


def _found(pk: int) -> StoredObject:
    return get_object_or_404(StoredObject.objects.select_related("environment", "generation", "noted_by"), pk=pk)


def _object(request: HttpRequest, found: StoredObject, form: NoteForm, status: int = 200) -> HttpResponse:
    context = {
        "object": found,
        "environment": found.environment,
        "form": form,
        "listed": bucket_reconcile.newest_listing(found.environment),
        "entries": Entry.objects.filter(subject=f"object:{found.pk}").order_by("-seq")[:ENTRIES],
        "may_note": request.user.has_perm("kvops.acknowledge"),
    }
    return render(request, "storage/detail.html", context, status=status)
