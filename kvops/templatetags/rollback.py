"""The banner of the read-only mode, on every page: `{% load rollback %}`."""

from django import template
from django.template import Context

from kvops import rollback
from kvops.models import User

register = template.Library()


@register.inclusion_tag("includes/rollback_banner.html", takes_context=True)
def rollback_banner(context: Context) -> dict[str, object]:
    """The rollback of the database that a bucket shows, its consequences and the remedy."""
    user = context.get("user")
    may_view = isinstance(user, User) and user.has_perm("kvops.view")
    return {"found": rollback.rollback_in_force() if may_view else None}
