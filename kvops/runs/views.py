"""Runs: finished and present work, with stop and resume."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audit.models import Entry
from audit.templatetags.audit import subject_url
from kvops.connections.budget import SharedBudget
from kvops.models import Namespace, Run
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.runs.forms import RunFilter
from kvops.runs.shown import lines_of
from kvops.web.acting import On, refusals_shown
from kvops.web.pages import live_part

PAGE = 50
STEPS = 20
"""Entries of the audit log; the page of a run shows at most so many."""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List runs, newest first; filters and page come from the address."""
    form = RunFilter(request.GET)
    lines, after = lines_of(form.runs(), PAGE, fold=form.folds)
    context = {
        "form": form,
        "lines": lines,
        "after": after,
        "filtered": any(request.GET.values()),
    }
    return render(request, "runs/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one run."""
    run = _run(pk)
    context = {
        "run": run,
        "environment": run.environment,
        "subject_url": _subject_url(run),
        "budget": SharedBudget.of(run.environment).left() if run.environment and run.is_open else None,
        "steps": Entry.objects.about([f"run:{pk}"])[:STEPS],
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "runs/detail.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the moving part of the run's page. If the run is over, load the whole page again."""
    run = _run(pk)
    return live_part(request, "runs/detail.html", {"run": run}, moving=run.is_open)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the run to stop."""
    run = _run(pk)
    with refusals_shown(request, On(run.environment, f"run:{pk}")):
        run_driver.request_stop(run, actor=person_of(request).actor)
        messages.success(request, _("The run stops at its next checkpoint."))
    return redirect("run", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue the run again."""
    run = _run(pk)
    with refusals_shown(request, On(run.environment, f"run:{pk}")):
        run_driver.resume(run, actor=person_of(request).actor)
        messages.success(request, _("The run resumes where it stopped."))
    return redirect("run", pk)


def _run(pk: int) -> Run:
    related = ("environment", "started_by", "approval__approver", "firing__schedule__environment", "generation")
    return get_object_or_404(Run.objects.select_related(*related), pk=pk)


def _subject_url(run: Run) -> str:
    if (backup := getattr(run, "generation", None)) is not None:
        return subject_url(f"generation:{backup.pk}")
    kind, _colon, key = run.subject.partition(":")
    if kind != "namespace":
        return subject_url(run.subject)
    namespace = Namespace.objects.select_related("environment").filter(pk=key).first()
    return reverse("keys", args=[namespace.environment.slug, namespace.binding]) if namespace else ""
