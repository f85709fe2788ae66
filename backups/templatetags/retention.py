"""The parts of the pages of retention: `{% load retention %}`."""

from collections.abc import Sequence

from django import template

from backups.models import Generation, Pin, PruneEntry
from backups.retention.evaluate import Kept, Retention
from kvops.models import Person, Role

register = template.Library()

SHOWN = 20


@register.inclusion_tag("retention/_dates.html")
def retention_dates(kept: Kept) -> dict[str, object]:
    """When a copy may be deleted, when it will be, until when R2 locks it, and why."""
    return {"kept": kept}


@register.simple_tag
def retention_of(generation: Generation) -> Kept | None:
    """What retention says of one copy; None of one that is deleted, or about to be."""
    return None if generation.status in Generation.GOING else Retention().of([generation])[0]


@register.simple_tag
def prunes_of(generation: Generation) -> Sequence[PruneEntry]:
    """The deletions a copy was collected for, newest first."""
    related = ("prune__requested_by", "prune__approval__approver")
    return list(PruneEntry.objects.filter(generation=generation).select_related(*related).order_by("-pk")[:SHOWN])


@register.inclusion_tag("retention/_pins.html", takes_context=True)
def pins_of(context: template.Context, generation: Generation) -> dict[str, object]:
    """Who pinned a copy and why, and the way to take the pin off again."""
    user = context["request"].user
    person: Person = user.person
    pins = Pin.objects.filter(generation=generation).select_related("person", "removed_by").order_by("-pk")
    return {
        "generation": generation,
        "pins": [(pin, pin.person_id == person.pk or person.holds(Role.OPERATOR)) for pin in pins],
        "pinned": any(pin.person_id == person.pk and pin.removed_at is None for pin in pins),
        "may_pin": user.has_perm("kvops.pin") and generation.status not in Generation.GOING,
        "csrf_token": context.get("csrf_token"),
    }
