"""Retention: the dates of each backup with their reasons, the effect of another rule, and pins."""

from collections import Counter

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.models import Generation, Pin, PruneRequest
from backups.retention import inputs as retention_inputs, pins, requests as prune_requests
from backups.retention.decide import State
from backups.retention.forms import ReasonForm, RetentionFilter, TryForm
from backups.retention.inputs import Retention, Tried
from kvops.inventory import families
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import NextForm, OptionalReasonForm, offer
from kvops.web.pages import listed, page_of

PAGE = 50
COUNTED = 200
"""Backups of which the simulation counts the states: the oldest ones."""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the dates of each backup, oldest first, and the rules behind them."""
    retention, environments = Retention(), list(Environment.objects.order_by("order"))
    prunes = {one.environment_id: one for one in PruneRequest.objects.exclude(state__in=PruneRequest.OVER)}
    due = prune_requests.due_in_each(environments, retention)
    trial = TryForm(request.GET if "days" in request.GET else None, auto_id="try_%s")
    offer(trial.fields["family"], retention.families)
    context = {
        "most": prune_requests.CAP,
        "pruning": [(one, due[one.pk], prunes.get(one.pk)) for one in environments],
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_pin": request.user.has_perm("kvops.pin"),
        "families": retention.families,
        "without_owner": families.without_owner(retention.families),
        "trial": trial,
        **(_tried(trial, retention) if trial.is_bound else _listed(request, retention, environments)),
    }
    return render(request, "retention/list.html", context, status=422 if trial.errors else 200)


def _listed(request: HttpRequest, retention: Retention, environments: list[Environment]) -> dict[str, object]:
    form = RetentionFilter(request.GET)
    offer(form.fields["environment"], environments)
    offer(form.fields["family"], retention.families)
    return listed(request, form, "backups", form.backups(retention), PAGE, place=lambda each: each.generation.pk)


def _tried(form: TryForm, retention: Retention) -> dict[str, object]:
    """The effect of another rule on the existing backups, instead of the list. Nothing is changed."""
    if not form.is_valid():
        return {}
    family, days, after = (form.cleaned_data[name] for name in ("family", "days", "after"))
    counted, more = page_of(retention_inputs.tried(retention, family, days, first=COUNTED + 1), COUNTED, _place)
    page = retention_inputs.tried(retention, family, days, after=after, first=PAGE + 1) if after else counted
    backups, after = page_of(page, PAGE, _place)
    return {
        "family": family,
        "days": days,
        "counts": _counts(counted),
        "counted": more and COUNTED,
        "backups": backups,
        "after": after,
    }


def _place(each: Tried) -> int:
    return each.now.generation.pk


def _counts(found: list[Tried]) -> list[tuple[str, int, int]]:
    """The number of backups in each state, by the rule in force and by the simulated one."""
    now = Counter(each.now.verdict.state for each in found)
    then = Counter(each.then.verdict.state for each in found)
    return [(state.value, now[state], then[state]) for state in State if now[state] or then[state]]


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.pin", raise_exception=True)
def pin(request: HttpRequest, pk: int) -> HttpResponse:
    """Pin a backup with a reason. A person who comes from a notice only confirms."""
    generation = get_object_or_404(Generation.objects.select_related("environment", "namespace"), pk=pk)
    reason = _("Still needed: pinned on the notice of its deletion.") if "notice" in request.GET else ""
    form = ReasonForm(request.POST if request.method == "POST" else None, initial={"reason": reason})
    if form.is_valid():
        with refusals_shown(request, On(generation.environment, f"generation:{pk}")):
            pins.pin(generation, reason=form.cleaned_data["reason"], by=person_of(request))
            messages.success(request, _("The backup is pinned. It stays until the pin is removed."))
        return redirect(_list_of(request) or reverse("backups:generation", args=[pk]))
    context = {"form": form, "generation": generation, "environment": generation.environment, "here": request.path}
    return render(request, "backups/pin.html", context, status=422 if form.is_bound else 200)


def _list_of(request: HttpRequest) -> str:
    """The address of the list with the short form, with its filters; empty for the page of the form."""
    came_from = NextForm(request.POST).address()
    listed_at = reverse("backups:retention")
    return came_from if came_from.partition("?")[0] == listed_at else ""


@require_POST
@permission_required("kvops.pin", raise_exception=True)
def unpin(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a pin with a reason."""
    found = get_object_or_404(Pin.objects.select_related("generation__environment"), pk=pk)
    with refusals_shown(request, On(found.generation.environment, f"generation:{found.generation_id}")):
        pins.remove(found, reason=OptionalReasonForm(request.POST).given(), by=person_of(request))
        messages.success(request, _("The pin is removed."))
    return redirect("backups:generation", found.generation_id)
