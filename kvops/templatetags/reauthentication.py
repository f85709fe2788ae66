"""The reason why the password is asked for, and the page to return to: `{% load reauthentication %}`."""

from django import template
from django.http import HttpRequest
from django.template import Context
from django.urls import Resolver404, resolve

from kvops.models import ApprovalRequest
from kvops.web.fields import NextForm

register = template.Library()


@register.simple_tag(takes_context=True)
def decision_at_hand(context: Context) -> ApprovalRequest | None:
    """The request the person is about to decide; None if the password is asked for another reason."""
    request = context["request"]
    if not isinstance(request, HttpRequest) or not request.user.has_perm("kvops.review"):
        return None
    try:
        match = resolve(NextForm(request.POST).address() or NextForm(request.GET).address())
    except Resolver404:
        return None
    if match.url_name != "approval-decide":
        return None
    return ApprovalRequest.objects.select_related("environment").filter(pk=match.kwargs["pk"]).first()
