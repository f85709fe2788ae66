"""Stores the preferences of a person."""

from audit import log
from audit.actions import Action
from kvops.models import Person


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
