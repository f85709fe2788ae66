"""The environments in force, and whether their read tokens see what they should."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from kvops import changes, environments
from kvops.budget import SharedBudget
from kvops.models import ApprovalRequest, Environment


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every environment with its bindings and what is left of its requests."""
    found = Environment.objects.order_by("order").prefetch_related("namespaces", "databases")
    context = {
        "environments": [(one, SharedBudget(one.account_id).left()) for one in found],
        "budget_calls": SharedBudget("").calls,
        "change": changes.waiting(ApprovalRequest.Kind.ENVIRONMENT),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "environments/index.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def check(request: HttpRequest, environment: str) -> HttpResponse:
    """Look at every namespace and database with the environment's own read token."""
    found = get_object_or_404(Environment, slug=environment)
    try:
        seen = environments.probe(found)
    except environments.NotVisible as error:
        messages.error(request, str(error))
    else:
        text = ngettext(
            "%(name)s: the read token sees what is bound here, %(seen)d thing in all.",
            "%(name)s: the read token sees everything that is bound here, %(seen)d in all.",
            seen,
        )
        messages.success(request, text % {"name": found.name, "seen": seen})
    return redirect("environments")
