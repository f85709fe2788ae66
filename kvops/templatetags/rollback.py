"""The banner of the read-only mode, on every page: `{% load rollback %}`."""

from django import template
from django.template import Context

register = template.Library()


@register.inclusion_tag("includes/rollback_banner.html", takes_context=True)
def rollback_banner(context: Context) -> dict[str, object]:
    """The rollback of the database that a bucket shows, its consequences and the remedy."""
    return {"found": context.get("rolled_back")}
