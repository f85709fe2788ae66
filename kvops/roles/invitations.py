"""Invitations: a mail with a one-time link by which the person chooses a password.

The link is made when the mail is sent. No row, page, log or entry holds it. It is good for `timing.INVITED` seconds,
and until a password was chosen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from kvops import clock, timing
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Person, User
from kvops.notifications import outbox
from kvops.notifications.senders import MessageRefused
from kvops.operations import registry
from kvops.people.signin import password_link
from kvops.refusals import Refused, Sentence
from kvops.wording import say

NO_LONGER = gettext_noop("The person has chosen a password or is deactivated. Give up this notification.")


class NotInvited(Refused):
    """The person does not wait for an invitation; the message gives the reason."""


@dataclass(frozen=True)
class Invitation:
    """The newest invitation of a person: when it was sent, and until when its link is good."""

    notification: Notification
    sent_at: datetime | None

    @property
    def good_until(self) -> datetime | None:
        """The end of its link; None while it was not sent."""
        return self.sent_at + timedelta(seconds=timing.INVITED) if self.sent_at else None

    @property
    def is_late(self) -> bool:
        """Whether its link is no longer good."""
        return self.good_until is not None and clock.seconds_until(self.good_until) <= 0


def newest(person: Person) -> Invitation | None:
    """The newest invitation of the person; None if there was none."""
    return newest_of_each([person]).get(person.pk)


def newest_of_each(people: Iterable[Person]) -> dict[int, Invitation]:
    """The newest invitation of each of these people, by the key of the person."""
    found = Notification.objects.filter(event=NotificationEvent.PERSON_INVITED, person__in=people)
    newest = found.order_by("person", "-pk").distinct("person")
    return {one.person_id: Invitation(one, one.delivered_at) for one in newest if one.person_id}


def waits(person: Person) -> bool:
    """Whether the person has an active login and has not chosen a password yet."""
    user = person.logins.filter(is_active=True).first()
    return user is not None and not user.has_usable_password()


def post(person: Person, *, actor: log.Actor) -> None:
    """Have an invitation sent, within the caller's transaction, if the person has not chosen a password yet."""
    if not waits(person):
        return
    earlier = Notification.objects.filter(event=NotificationEvent.PERSON_INVITED, person=person).count()
    outbox.post(
        NotificationEvent.PERSON_INVITED,
        subject=f"person:{person.pk}",
        occasion=f"invitation {earlier + 1}",
        title=say(_("You are invited to KVOps, %(name)s"), name=person.name),
        lines=[
            say(_("Invited by %(name)s."), name=actor.text),
            say(
                _(
                    "Open the link once and choose a password. It is good for %(days)s days; after that, have the "
                    "invitation sent again. Do not pass it on."
                ),
                days=timing.INVITED // 86400,
            ),
        ],
        to=[person],
    )
    log.record(
        Action.PERSON_INVITED,
        actor=actor,
        subject=f"person:{person.pk}",
        subject_label=str(person),
        details={"invitation": earlier + 1},
    )


def again(person: Person, *, by: Person) -> None:
    """Have the invitation sent again: it gives no role, so it needs no approval. Raises NotInvited."""
    with log.transaction():
        if not registry.REQUESTS[ApprovalRequest.Kind.ROLE].has_asker(by):
            raise NotInvited(_("Only an operator or a reviewer can do this."))
        if not waits(person):
            raise NotInvited(
                say(_("%(name)s has chosen a password or is deactivated: there is nothing to send."), name=person.name)
            )
        post(person, actor=by.actor)


def link(notification: Notification) -> str:
    """The one-time link for the mail of an invitation. Raises MessageRefused if the person needs none any more."""
    user = User.objects.filter(person=notification.person, is_active=True).first()
    if user is None or user.has_usable_password():
        raise MessageRefused(Sentence(NO_LONGER))
    return password_link(user)
