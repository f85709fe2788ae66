"""The parts of the pages of retention: `{% load retention %}`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django import template
from django.utils import timezone

from backups.models import BucketProtection, Generation, Pin
from backups.retention.decide import State
from backups.retention.inputs import Kept, Retention
from kvops import timing
from kvops.models import Family

register = template.Library()


@register.inclusion_tag("retention/_dates.html")
def retention_dates(kept: Kept, folded: bool = False) -> dict[str, object]:
    """The dates of a backup: from when it can be deleted, the end of R2's lock, and the reasons.

    Folded, the line that stays has the nearest date: the first one that is not over, or the state without a date.
    """
    verdict = kept.verdict
    if verdict.state == State.DUE:
        nearest = "due"
    elif verdict.may_from and verdict.may_from > timezone.now():
        nearest = "may"
    else:
        nearest = "goes" if verdict.state.goes else ""
    return {"kept": kept, "folded": folded, "nearest": nearest}


@register.filter
def kept_at_least_until(generation: Generation) -> datetime:
    """The earliest moment of a deletion, whatever the rules of the families of the backup."""
    least = (generation.finished_at or generation.started_at) + timedelta(days=timing.RETENTION_DAYS)
    return max(generation.retain_until, least)


@register.simple_tag
def retention_of(generation: Generation) -> Kept | None:
    """The retention of one backup; None if it is deleted or being deleted."""
    return None if generation.status in Generation.GOING else Retention().of([generation])[0]


@register.simple_tag
def with_retention(
    generations: Sequence[Generation],
    now: datetime,
    families: Sequence[Family],
    protections: Sequence[BucketProtection],
) -> list[tuple[Generation, Kept | None]]:
    """Backups with their retention, by facts that the page has read; None for one that is deleted or being deleted."""
    there = [each for each in generations if each.status not in Generation.GOING]
    retained = Retention(now=now, families=families, protections=protections).of(there) if there else []
    kept = {each.generation.pk: each for each in retained}
    return [(each, kept.get(each.pk)) for each in generations]


@register.inclusion_tag("retention/_pins.html", takes_context=True)
def pins_of(context: template.Context, generation: Generation, pins: Sequence[Pin]) -> dict[str, object]:
    """The pins of a backup with their people and reasons, and the form to remove a pin."""
    user = context["request"].user
    person = user.person
    return {
        "generation": generation,
        "pins": [(pin, pin.person_id == person.pk or user.has_perm("kvops.operate")) for pin in pins],
        "pinned": any(pin.person_id == person.pk and pin.removed_at is None for pin in pins),
        "may_pin": user.has_perm("kvops.pin") and generation.status not in Generation.GOING,
        "csrf_token": context.get("csrf_token"),
    }
