"""The rotation of settings values on other pages: `{% load rotation %}`."""

from collections.abc import Sequence

from django import template
from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from backups.rotation import ages as value_ages
from backups.rotation.ages import RotationState, ValueAge
from kvops.models import Family, Namespace
from kvops.names import visible
from kvops.overview.key_alarms import Alarm

register = template.Library()

NAMED = 5
"""Keys. An alarm names at most this many."""


@register.simple_tag
def rotation_of(namespace: Namespace, name: str, family: Family | None) -> ValueAge | None:
    """The age of one settings value; None for any other key, and for one that the newest scan does not know."""
    if family is None or family.category != "settings":
        return None
    return value_ages.of_key(namespace, family, name)


def rotation_alarms(found: Sequence[ValueAge]) -> list[Alarm]:
    """One alarm for the values that are overdue for rotation, and one for those that are due within 14 days."""
    overdue = [one for one in found if one.state == RotationState.OVERDUE]
    due = [one for one in found if one.state == RotationState.DUE]
    alarms = []
    if overdue:
        title = ngettext(
            "%(n)s settings value is overdue for rotation", "%(n)s settings values are overdue for rotation",
            len(overdue),
        )  # fmt: skip
        alarms.append(_alarm(title, overdue, RotationState.OVERDUE))
    if due:
        title = ngettext(
            "%(n)s settings value is due for rotation within 14 days",
            "%(n)s settings values are due for rotation within 14 days",
            len(due),
        )
        alarms.append(_alarm(title, due, RotationState.DUE))
    return alarms


def _alarm(title: str, values: list[ValueAge], state: RotationState) -> Alarm:
    names = [f"{one.environment.slug} {visible(one.name)}" for one in values[:NAMED]]
    more = [f"+{len(values) - NAMED}"] if len(values) > NAMED else []
    url = f"{reverse('backups:rotation')}?state={state}"
    since = min(one.due_at for one in values if one.due_at)
    text, see = ", ".join(names + more), _("See details")
    return Alarm("warning", f"rotation.{state}", title % {"n": len(values)}, text, url, see, since)
