"""The pages that register a family, and propose families for unclassified keys."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.families import evidence as family_evidence, requests as family_requests, shapes
from backups.families.forms import FamilyForm, initial
from kvops.inventory.registration import FamilyRegistration
from kvops.models import ApprovalRequest, Namespace, PolicyVersion, PreparedChange
from kvops.names import typed
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.web.acting import On, refusals_shown
from kvops.wording import reason_of

_NAMES = {"pattern", "sample_key"}
"""Fields that spell invisible characters, in an address too."""
_CHANGES = PreparedChange.objects.filter(kind=ApprovalRequest.Kind.FAMILY)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Describe a family, look at its effect, and ask a reviewer to decide."""
    if request.method != "POST":
        return _new(request, FamilyForm(initial=_proposed(request)))
    form = FamilyForm(request.POST)
    if not form.is_valid():
        return _new(request, form, status=422)
    data = form.registration()
    if "look" in request.POST:
        return _looked(request, form, data)
    with refusals_shown(request, On(None, "policy", f"{data['binding']} {data['pattern']}"[:200]), form=form):
        asked = family_requests.register(FamilyRegistration.read(data), by=person_of(request))
        messages.success(request, _("A reviewer is asked to decide. Nothing changes until then."))
        return redirect("approval", asked.pk)
    return _new(request, form, status=422)


def _looked(request: HttpRequest, form: FamilyForm, data: dict[str, Any]) -> HttpResponse:
    """The form with the effect of the family; a refusal is shown as it would be at the submit."""
    try:
        found = family_evidence.effect(FamilyRegistration.read(data))
    except (Refused, PolicyVersion.DoesNotExist) as refused:
        form.add_error(None, reason_of(refused))
        return _new(request, form, status=422)
    return _new(request, form, effect=family_evidence.with_times({**found, "sample_key": data["sample_key"]}))


def _proposed(request: HttpRequest) -> dict[str, Any]:
    """The fields as an earlier registration, or the address of a proposal, has them."""
    earlier = request.GET.get("again", "")
    if earlier.isascii() and earlier.isdigit() and len(earlier) < 19:
        return initial(json.loads(get_object_or_404(_CHANGES, approval=int(earlier)).definition))
    return {name: typed(value) if name in _NAMES else value for name, value in request.GET.dict().items()}


def _new(request: HttpRequest, form: FamilyForm, *, status: int = 200, effect: Any = None) -> HttpResponse:
    context = {"form": form, "effect": effect, "policy": PolicyVersion.objects.order_by("-number").first()}
    return render(request, "categories/new.html", context, status=status)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def anew(request: HttpRequest, pk: int) -> HttpResponse:
    """Withdraw a request whose effect changed, and ask again with the new effect."""
    approval = get_object_or_404(ApprovalRequest, kind=ApprovalRequest.Kind.FAMILY, pk=pk)
    with refusals_shown(request, On(None, f"approval:{pk}", approval.title, approval.digest)):
        asked = family_requests.submit_anew(approval, by=person_of(request))
        messages.success(request, _("A reviewer is asked to decide. Nothing changes until then."))
        return redirect("approval", asked.pk)
    return redirect("approval", pk)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def shapes_page(request: HttpRequest) -> HttpResponse:
    """Group the unclassified keys of the newest scans by the shape of their names."""
    namespaces = Namespace.objects.select_related("environment").order_by("environment__order", "binding")
    found = shapes.found_shapes(list(namespaces))
    context = {
        "found": found,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "categories/shapes.html", context)
