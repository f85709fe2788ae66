"""One backup: its description, its entries, the steps to restore it, and its actions."""

from operator import attrgetter

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from backups import archive
from backups.bucket.store import StoreError
from backups.generations import (
    contents as generation_contents,
    recovery,
    start as generation_start,
    values as generation_values,
)
from backups.generations.forms import EntryFilter, ValuesForm
from backups.models import Generation
from kvops.models import Run
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.files import streamed
from kvops.web.pages import listed, live_part

PAGE, SHOWN = 50, generation_contents.SHOWN


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one backup."""
    generation = _generation(pk)
    form = EntryFilter(request.GET)
    parts = list(generation.parts.order_by("number")[: recovery.MAX_PARTS + 1])
    prunes = generation.prunes.select_related("prune__requested_by", "prune__approval__approver")
    stages = generation.stages.select_related("environment", "request", "run").prefetch_related("undos", "restores")
    restorable = len(parts) <= recovery.MAX_PARTS and generation.status not in Generation.GOING
    context = {
        **listed(request, form, "entries", form.entries(generation), PAGE, place=attrgetter("name")),
        "generation": generation,
        "environment": generation.environment,
        "run": generation.work,
        "found": _found(generation.work),
        "parts": parts[: recovery.MAX_PARTS],
        "more_parts": len(parts) > recovery.MAX_PARTS,
        "sections": recovery.sections(recovery.recovery_steps(generation, parts)) if restorable else [],
        "checks": generation.checks.select_related("dataset", "run").order_by("-pk")[:SHOWN],
        "in_vault": generation.documents.exists(),
        "pins": generation.pins.select_related("person", "removed_by").order_by("-pk"),
        "prunes": prunes.order_by("-pk")[:SHOWN],
        "restores": generation.restores.naming().restoring().select_related("environment").order_by("-pk")[:SHOWN],
        "stages": stages.order_by("-pk")[:SHOWN],
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_view_values": request.user.has_perm("kvops.view_values"),
    }
    return render(request, "backups/generation.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run ends, the whole page is loaded again."""
    generation = _generation(pk)
    run = generation.work
    context = {"generation": generation, "run": run, "found": _found(run)}
    return live_part(request, "backups/generation.html", context, moving=run.is_open)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def steps(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """The recovery steps as a file."""
    return streamed([recovery.recovery_steps(_generation(pk))], f"generation-{pk}.RESTORE.md", "text/markdown")


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def value(request: HttpRequest, pk: int, index: int) -> HttpResponse:
    """Show one value of the backup. The value is in this answer and nowhere else."""
    generation = _generation(pk)
    asked = get_object_or_404(generation.entries, index=index)
    on = On(generation.environment, f"generation:{pk}")
    with refusals_shown(request, on, also=(archive.Damaged, StoreError)):
        entry = generation_values.view_entry(generation, asked.name, by=person_of(request))
        context = {"generation": generation, "environment": generation.environment, "entry": entry}
        return render(request, "backups/value.html", context)
    return redirect("backups:generation", pk)


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def values(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the values of up to three named keys of the backup. Each is recorded, or refused with a sentence."""
    generation, form = _generation(pk), ValuesForm(request.POST)
    on, rows = On(generation.environment, f"generation:{pk}"), []
    for name in form.cleaned_data["name"] if form.is_valid() else []:
        entry, refused = None, forms.Form({})
        with refusals_shown(request, on, form=refused, also=(archive.Damaged, StoreError)):
            entry = generation_values.view_entry(generation, name, by=person_of(request))
        rows.append((name, entry, refused.non_field_errors()))
    context = {"generation": generation, "environment": generation.environment, "rows": rows}
    return render(request, "backups/values.html", context, status=200 if rows else 422)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def verify(request: HttpRequest, pk: int) -> HttpResponse:
    """Verify the backup: read it back and compare it with KV's answer."""
    generation, person = _generation(pk), person_of(request)
    with refusals_shown(request, On(generation.environment, f"generation:{pk}")):
        generation_start.start_verification(generation, actor=person.actor, person=person)
        messages.success(request, _("The backup is being verified."))
    return redirect("backups:generation", pk)


def _found(run: Run) -> str:
    """The status that a finished verification gave the backup; empty for any other run."""
    finished = run.kind == Run.Kind.VERIFY and run.state == Run.State.SUCCEEDED
    return str(run.result.get("status", "")) if finished else ""


def _generation(pk: int) -> Generation:
    found = Generation.objects.select_related("environment", "namespace", "run", "verify_run")
    return get_object_or_404(generation_contents.for_pages(found), pk=pk)
