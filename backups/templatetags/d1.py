"""The row of D1 beside a key, on the page of the key: `{% load d1 %}`."""

from django import template
from django.template import Context

from backups.integrity.of_key.newest import newest_check
from kvops.models import Category, Namespace

register = template.Library()


@register.inclusion_tag("keys/_d1.html", takes_context=True)
def row_of_key(context: Context, namespace: Namespace, name: str, category: Category) -> dict[str, object]:
    """What the newest check found for the key, and the button that reads the key and its row now."""
    return {
        "csrf_token": context.get("csrf_token"),
        "checked": newest_check(namespace, name),
        "namespace": namespace,
        "environment": namespace.environment,
        "name": name,
        "sensitive": category.sensitive,
        "may_view": context["request"].user.has_perm("kvops.view_values"),
    }
