"""Keys of a cache that are chosen by what a listing shows, on the pages of other features: `{% load clearing %}`."""

from collections.abc import Mapping, Sequence

from django import template

from backups.clearing import rules
from backups.models import Clearing
from kvops.approvals import standing
from kvops.inventory.selection import Selection
from kvops.models import Schedule

register = template.Library()


@register.filter
def selection_words(only: Mapping[str, object]) -> Sequence[str]:
    """The conditions of a selection, as it is stored, in the reader's language."""
    return Selection.of(only).words


@register.inclusion_tag("clearing/_schedule.html")
def clearing_of(schedule: Schedule) -> dict[str, object]:
    """The rule behind a schedule, with its approval and its newest round; nothing for any other schedule."""
    found = Clearing.objects.filter(pk=schedule.subject.removeprefix("clearing:")) if schedule.subject else None
    one = found.select_related("namespace__environment", "family").first() if found else None
    if one is None:
        return {}
    return {
        "clearing": one,
        "in_force": standing.approval_in_force(rules.KIND, one.subject),
        "newest": one.newest_round,
    }
