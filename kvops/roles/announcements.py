"""Messages about people: to the person concerned, to all reviewers, and of a recovery to everybody."""

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.approvals import titles
from kvops.models import ApprovalRequest, Environment, NotificationEvent, Person, ReviewerRecovery
from kvops.notifications import outbox
from kvops.wording import moment, say


def changed(person: Person, approval: ApprovalRequest) -> None:
    """Tell the person and all reviewers that a change of the person's roles is in force."""
    approver = approval.approver.name if approval.approver else ""
    outbox.post(
        NotificationEvent.PERSON_CHANGED,
        subject=f"person:{person.pk}",
        occasion=f"approval {approval.pk}",
        title=say(_("Roles changed: %(name)s"), name=person.name),
        lines=[
            titles.title_when_read(approval),
            say(
                _("Asked for by %(name)s, approved by %(approver)s."),
                name=approval.requester.name,
                approver=approver,
            ),
        ],
        link=reverse("person", args=[person.pk]),
        to=[person],
    )


def recovery(found: ReviewerRecovery, sentence: str | Promise, *, occasion: str) -> None:
    """Tell everybody with an active login, and every channel, about a recovery."""
    everybody = Person.objects.filter(logins__is_active=True).distinct()
    for environment in (None, *Environment.objects.exclude(slack="").order_by("order")):
        outbox.post(
            NotificationEvent.REVIEWER_RECOVERY,
            subject=f"recovery:{found.pk}",
            occasion=occasion,
            environment=environment,
            title=say(sentence, email=found.email, time=moment(found.effective_at)),
            lines=[
                say(_("Asked for by %(name)s."), name=found.asked_by),
                say(_("Reason: %(reason)s"), reason=found.reason),
                say(_("If you do not expect this, tell the owner of this installation at once.")),
            ],
            link=reverse("people"),
            to=everybody,
        )
