"""The personal notices: those that a person may turn off, and the reason why the others are always on."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.models import NotificationEvent, Person
from kvops.models.people import VOLUNTARY

Event = NotificationEvent
CHOICES = [(event.value, event.label) for event in Event if event.value in VOLUNTARY]


@dataclass(frozen=True)
class AlwaysOn:
    """Notices that cannot be turned off, with the reason."""

    reason: str | Promise
    events: tuple[NotificationEvent, ...]


_DECISIONS = (Event.APPROVAL_WAITING, Event.APPROVAL_EXPIRING)
_ACCESS = (Event.PERSON_INVITED, Event.PERSON_CHANGED, Event.REVIEWER_RECOVERY)
_DEADLINES = (
    Event.GENERATION_DEADLINE,
    Event.GENERATION_PAST_DEADLINE,
    Event.DRILL_OVERDUE,
    Event.TODO_OVERDUE,
)
_NAMED = {*_DECISIONS, *_ACCESS, *_DEADLINES}
ALWAYS_ON = (
    AlwaysOn(_("Four eyes: a request that nobody is told of waits until it expires."), _DECISIONS),
    AlwaysOn(_("Roles decide who may delete: a change of them is never made unseen."), _ACCESS),
    AlwaysOn(_("The policy has these deadlines notified: after them a backup can be deleted or a duty is late."),
             _DEADLINES),
    AlwaysOn(_("Alarms: something failed, stopped or changed outside KVOps, and a person must look at it."),
             tuple(one for one in Event if one not in _NAMED and one.value not in VOLUNTARY)),
)  # fmt: skip
"""Every event that is not voluntary, once."""


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
