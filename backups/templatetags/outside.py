"""Settings that changed outside KVOps, on the overview and on the page of a key: `{% load outside %}`."""

from django import template
from django.template import Context

from backups.models import OutsideSearch
from backups.outside_changes import one_key
from kvops.models import Category, Namespace

register = template.Library()


@register.simple_tag
def outside_open() -> int:
    """The number of searches that a person must still explain."""
    return OutsideSearch.objects.unexplained().count()


@register.inclusion_tag("keys/_compared.html", takes_context=True)
def compare_with_backup(context: Context, namespace: Namespace, name: str, category: Category) -> dict[str, object]:
    """The comparison of a key of settings with the last backup: its newest result, and the button for another."""
    compared = one_key.compared(namespace, name) if category.sensitive else None
    return {
        "request": context["request"],
        "csrf_token": context.get("csrf_token"),
        "namespace": namespace,
        "environment": namespace.environment,
        "sensitive": category.sensitive,
        "compared": compared and compared.newest,
        "backup": bool(compared and compared.backed_up),
        "name": name,
        "may_view": context["request"].user.has_perm("kvops.view_values"),
    }
