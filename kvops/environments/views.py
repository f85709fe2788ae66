"""The environments in force, and a test of their read tokens."""

from collections import defaultdict
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, ngettext
from django.views.decorators.http import require_POST, require_safe

from kvops.approvals import emergency_release, prepared_changes
from kvops.connections import quota
from kvops.connections.budget import SharedBudget, lefts
from kvops.connections.prices import OPERATIONS
from kvops.environments import apply as environments_apply
from kvops.models import ApprovalRequest, DailyUse, Environment
from kvops.people.signin import person_of
from kvops.runs import emergency
from kvops.templatetags.prices import OPERATION_WORDS
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import OptionalReasonForm
from kvops.web.ranges import DaySeries, Period, PeriodForm
from kvops.wording import reason_of


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every environment with its bindings and the rest of its request budget."""
    found = (
        Environment.objects.order_by("order")
        .select_related("scratch")
        .prefetch_related("namespaces", "databases", "skews")
    )
    sharing = {
        one.pk: ", ".join(other.name for other in found if other != one and other.budget == one.budget) for one in found
    }
    period = PeriodForm(request.GET).period
    context = {
        "environments": [
            (one, left, sharing[one.pk], spent)
            for one, left, spent in zip(found, lefts([*map(SharedBudget.of, found)]), quota.spent(found), strict=True)
        ],
        "period": period,
        "accounts": by_account(period) if period else [],
        "band": next((one for one in found if one.production), None),
        "change": prepared_changes.waiting_change(ApprovalRequest.Kind.ENVIRONMENT),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "environments/index.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def check(request: HttpRequest, environment: str) -> HttpResponse:
    """Read every namespace and database with the environment's own read token."""
    found = get_object_or_404(Environment, slug=environment)
    try:
        seen = environments_apply.probe(found)
    except environments_apply.NotVisible as error:
        messages.error(request, reason_of(error))
    else:
        text = ngettext(
            "%(name)s: the read token can read the %(seen)d resource bound here.",
            "%(name)s: the read token can read all %(seen)d resources bound here.",
            seen,
        )
        messages.success(request, text % {"name": found.name, "seen": seen})
    return redirect("environments")


@require_POST
@permission_required("kvops.stop", raise_exception=True)
def stop(request: HttpRequest, environment: str) -> HttpResponse:
    """Press the emergency stop: one click."""
    found = get_object_or_404(Environment, slug=environment)
    with refusals_shown(request, _on(found)):
        emergency.press(found, by=person_of(request), reason=OptionalReasonForm(request.POST).given())
    return redirect("environments")


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def release(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask another person to release the emergency stop."""
    found = get_object_or_404(Environment, slug=environment)
    with refusals_shown(request, _on(found)):
        reason = OptionalReasonForm(request.POST).given()
        asked = emergency_release.ask(found, by=person_of(request), reason=reason)
        messages.success(request, _("Another person is asked to approve the release."))
        return redirect("approval", asked.pk)
    return redirect("environments")


def _on(environment: Environment) -> On:
    return On(environment, f"environment:{environment.pk}", environment.name)


@dataclass(frozen=True)
class AccountOperations:
    """An account with the environments that use it, and a series of each kind of operation."""

    account: str
    environments: str
    series: list[DaySeries]


def by_account(period: Period) -> list[AccountOperations]:
    """Every account of an environment, in the order of clean-up."""
    names: dict[str, list[str]] = defaultdict(list)
    for environment in Environment.objects.order_by("order"):
        names[environment.account_id].append(environment.name)
    uses = DailyUse.objects.filter(account__in=names, day__range=(period.since, period.until)).order_by("day")
    found: dict[str, list[DailyUse]] = defaultdict(list)
    for use in uses:
        found[use.account].append(use)
    return [
        AccountOperations(account, ", ".join(named), [_series(kind, found[account]) for kind in OPERATIONS])
        for account, named in names.items()
    ]


def _series(kind: str, uses: list[DailyUse]) -> DaySeries:
    return DaySeries(OPERATION_WORDS[kind], {use.day: getattr(use, f"{kind}s") for use in uses})
