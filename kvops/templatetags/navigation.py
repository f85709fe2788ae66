"""The counts in the menu: `{% load navigation %}`."""

from django import template
from django.template import Context

from kvops.models import ApprovalRequest, User

register = template.Library()


@register.inclusion_tag("includes/approvals_badge.html", takes_context=True)
def approvals_badge(context: Context) -> dict[str, object]:
    """The number of requests that wait for the signed-in person; nothing for persons without the right to decide."""
    user = context.get("user")
    if not isinstance(user, User) or not user.has_perm("kvops.review"):
        return {}
    return {"approvals_waiting": ApprovalRequest.objects.waiting_for(user.person).count()}
