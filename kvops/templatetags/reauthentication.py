"""The reason why the password is asked for, and the page to return to: `{% load reauthentication %}`."""

from dataclasses import dataclass

from django import template
from django.http import HttpRequest
from django.template import Context
from django.urls import Resolver404, resolve

from kvops.approvals.forms import ChosenForm
from kvops.models import ApprovalRequest
from kvops.people.signin import repeated_form
from kvops.web.fields import NextForm

register = template.Library()


@dataclass(frozen=True)
class DecisionAtHand:
    """A decision that waits for the password: the request, and whether the person approves it or rejects it."""

    approval: ApprovalRequest
    approves: bool


@register.simple_tag(takes_context=True)
def decision_at_hand(context: Context) -> DecisionAtHand | None:
    """The decision that is recorded after the password; None if the password is asked for another reason."""
    request = context["request"]
    if not isinstance(request, HttpRequest) or not request.user.has_perm("kvops.review"):
        return None
    address = NextForm(request.POST).address() or NextForm(request.GET).address()
    form = ChosenForm(repeated_form(request, address))
    try:
        match = resolve(address)
    except Resolver404:
        return None
    if match.url_name != "approval-decide" or not form.is_valid():
        return None
    approval = ApprovalRequest.objects.select_related("environment").filter(pk=match.kwargs["pk"]).first()
    return DecisionAtHand(approval, form.cleaned_data["decision"] == "approve") if approval else None
