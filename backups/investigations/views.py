"""Investigations: caches backed up for a question, and the end of their backups."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.bucket import protection as bucket_protection
from backups.investigations import requests as investigation_requests
from backups.investigations.forms import CloseForm, InvestigationForm
from backups.investigations.requests import KIND
from backups.models import Investigation
from kvops.approvals import standing
from kvops.models import Environment, Namespace
from kvops.people.signin import person_of
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.fields import NewestFirst
from kvops.web.pages import live_part, page_of

PAGE = 50
RELATED = ("environment", "asked_by", "closed_by", "run", "generation__environment", "generation__namespace")
INVESTIGATIONS = Investigation.objects.select_related(*RELATED, "generation__run", "generation__verify_run")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List investigations, newest first, and whether each bucket deletes their backups by itself."""
    found, after = page_of(NewestFirst(request.GET).narrowed(INVESTIGATIONS), PAGE)
    context = {
        "investigations": [(each, standing.newest_request(KIND, each.subject)) for each in found],
        "after": after,
        "buckets": [_bucket(environment) for environment in Environment.objects.order_by("order")],
        "days": investigation_requests.LONGEST,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "investigations/list.html", context)


def _bucket(environment: Environment) -> dict[str, object]:
    protection = bucket_protection.known(environment)
    days = None if protection.expiry is None else protection.expiry / 86_400
    return {
        "environment": environment,
        "protection": protection,
        "expires": investigation_requests.expires(protection),
        "days": days,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Choose a cache and give the reason; its backup is started at once."""
    if request.method != "POST":
        return _new(request, InvestigationForm(initial=request.GET.dict()))
    form = InvestigationForm(request.POST)
    if not form.is_valid():
        return _new(request, form, status=422)
    chosen = form.cleaned_data
    environment, family = chosen["environment"], chosen["family"]
    namespace = Namespace.objects.filter(environment=environment, binding=family.binding).first()
    if namespace is None:
        form.add_error("family", _("This environment has no such binding."))
        return _new(request, form, status=422)
    asked = {name: chosen[name] for name in ("family", "title", "reason", "days")}
    with refusals_shown(request, On(environment, f"namespace:{namespace.pk}"), form=form):
        made = investigation_requests.start(namespace, by=person_of(request), **asked)
        said = _(
            "The backup is being made. A reviewer is asked to approve its deletion at the end of the investigation."
        )
        messages.success(request, said)
        return redirect("backups:investigation", made.pk)
    return _new(request, form, status=422)


def _new(request: HttpRequest, form: InvestigationForm, *, status: int = 200) -> HttpResponse:
    return render(request, "investigations/new.html", {"form": form}, status=status)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one investigation, its backup and its end."""
    return _page(request, get_object_or_404(INVESTIGATIONS, pk=pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run ends, the whole page is loaded again."""
    found = get_object_or_404(INVESTIGATIONS, pk=pk)
    run = found.run or found.generation.work
    return live_part(request, "investigations/detail.html", _context(request, found), moving=run.is_open)


STEPS: dict[str, Step[Investigation]] = {
    "close": Step(
        investigation_requests.close,
        gettext_lazy("The investigation is closed. Its backup is deleted as soon as possible."),
        CloseForm,
        ("reason",),
    ),
    "ask": Step(investigation_requests.ask_again, gettext_lazy("A reviewer is asked to decide.")),
}


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the investigation."""
    found = get_object_or_404(INVESTIGATIONS, pk=pk)
    return act(
        request,
        STEPS[step],
        found,
        on=On(found.environment, found.subject),
        to=reverse("backups:investigation", args=[pk]),
        show=lambda form, status: _page(request, INVESTIGATIONS.get(pk=pk), form=form, status=status),
    )


def _page(
    request: HttpRequest, found: Investigation, *, form: forms.Form | None = None, status: int = 200
) -> HttpResponse:
    context = _context(request, found) | {"form": form or CloseForm()}
    return render(request, "investigations/detail.html", context, status=status)


def _context(request: HttpRequest, found: Investigation) -> dict[str, object]:
    approval, in_force = standing.asked_and_in_force(KIND, found.subject)[found.subject]
    return {
        "investigation": found,
        "state": found.state,
        "environment": found.environment,
        "generation": found.generation,
        "run": found.run or found.generation.work,
        "approval": approval,
        "in_force": in_force is not None,
        "is_approver": approval is not None and approval.approver_id == person_of(request).pk,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
