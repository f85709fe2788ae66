"""The personal notices: those that a person may turn off, and the reason why the others are always on."""

from dataclasses import dataclass

from django.utils.functional import Promise

from audit import log
from audit.actions import Action
from kvops.models import NotificationEvent, Person
from kvops.models.people import VOLUNTARY
from kvops.operations.parts import NoticeReason
from kvops.operations.registry import NOTICES

CHOICES = [(event.value, event.label) for event in NotificationEvent if event.value in VOLUNTARY]


@dataclass(frozen=True)
class AlwaysOn:
    """Notices that cannot be turned off, with the reason."""

    reason: str | Promise
    events: tuple[NotificationEvent, ...]


def always_on() -> list[AlwaysOn]:
    """Every event that is not voluntary, once."""
    kept = [event for event in NotificationEvent if event.value not in VOLUNTARY]
    by_reason = [(why, tuple(event for event in kept if NOTICES[event].reason is why)) for why in NoticeReason]
    return [AlwaysOn(why.label, events) for why, events in by_reason]


def change(person: Person, *, pages_language: str, mails_language: str, time_zone: str, unwanted: list[str]) -> None:
    """Store the preferences of the person.

    Languages and zone change only the person's own view, so nothing is recorded. Other notices are recorded, because
    an auditor asks why nobody was told.
    """
    with log.transaction():
        before = Person.objects.select_for_update().get(pk=person.pk).unwanted
        Person.objects.filter(pk=person.pk).update(
            pages_language=pages_language, mails_language=mails_language, time_zone=time_zone, unwanted=unwanted
        )
        if before != unwanted:
            log.record(
                Action.PERSON_NOTICES_CHANGED,
                actor=person.actor,
                subject=f"person:{person.pk}",
                subject_label=str(person),
                details={"off": [*unwanted], "off_before": [*before]},
            )
