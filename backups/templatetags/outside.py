"""Settings that changed outside KVOps, on the overview and on the page of a key: `{% load outside %}`."""

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.translation import gettext as _

from backups.models import OutsideSearch
from backups.outside_changes import announcements, one_key
from kvops.models import Category, Namespace
from kvops.overview.key_alarms import Alarm

register = template.Library()

SHOWN = 20
"""Searches. The overview has the alarms of at most this many."""


def outside_alarms() -> list[Alarm]:
    """One alarm for each search that found changes or could not compare, until a person has explained it."""
    found = []
    open_ = OutsideSearch.objects.unexplained().select_related("namespace__environment").order_by("-pk")
    for search in open_[:SHOWN]:
        url, see = reverse("backups:outside", args=[search.pk]), _("See details")
        if search.found:
            text = " ".join([*map(str, announcements.lines(search)), str(announcements.ASK)])
            title = str(announcements.title(search))
            found.append(Alarm("danger", "setting.changed_outside", title, text, url, see, search.at))
        else:
            title = _("%(namespace)s: a backup of settings is not comparable with the one before")
            text = str(announcements.not_comparable(search))
            title %= {"namespace": search.namespace}
            found.append(Alarm("warning", "setting.not_comparable", title, text, url, see, search.at))
    return found


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
