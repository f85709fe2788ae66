"""The recovery of the reviewer: for an installation in which no reviewer is active, by a command, after 24 hours.

`manage.py recover_reviewer` asks for it; everybody is mailed. Each round of the sweep looks at it (`settle`): it is
cancelled if a reviewer became active, and takes effect when its day is over.
"""

from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops import clock, rollback, timing
from kvops.approvals import gate as approval_gate
from kvops.models import Person, ReviewerRecovery, Role
from kvops.people import setup as people_setup
from kvops.refusals import Refused
from kvops.roles import announcements, invitations
from kvops.wording import insist_explained, say, storable

SWEEP = log.Actor.system("sweep")


class RecoveryRefused(Refused):
    """The recovery is refused; the message gives the reason."""


def open_recovery() -> ReviewerRecovery | None:
    """The recovery that waits for its day to be over; None if there is none."""
    return ReviewerRecovery.objects.filter(granted_at=None, cancelled_at=None).first()


def ask(email: str, *, name: str, reason: str, actor: log.Actor) -> ReviewerRecovery:
    """Ask for the role of a reviewer for this person. Raises RecoveryRefused, SetupRefused and ApprovalRefused."""
    email, reason = people_setup.fold(email), storable(reason).strip()[:500]
    insist_explained(reason, RecoveryRefused, _("Give the reason for the recovery. Everybody is told it."))
    with log.transaction():
        approval_gate.insist_writable()
        if active := Person.objects.active_reviewers().first():
            raise RecoveryRefused(
                say(_("%(name)s is an active reviewer. Ask for the role on the page People."), name=active.name)
            )
        if other := people_setup.of_one_mailbox(email):
            raise RecoveryRefused(
                say(_("This is the mailbox of %(name)s. Give the address of that person."), name=other)
            )
        if earlier := open_recovery():
            raise RecoveryRefused(say(_("A recovery for %(email)s is already under way."), email=earlier.email))
        found = ReviewerRecovery.objects.create(
            email=email,
            name=storable(name).strip()[:200] or email.split("@")[0],
            reason=reason,
            asked_by=actor.text,
            effective_at=Now() + timedelta(seconds=timing.RECOVERY),
        )
        found.refresh_from_db()
        _record(Action.RECOVERY_ASKED, found, actor, until=found.effective_at.isoformat())
        announcements.recovery(
            found, _("Without an active reviewer: %(email)s becomes reviewer at %(time)s"), occasion="asked"
        )
    return found


def settle() -> None:
    """Cancel a recovery if a reviewer is active, or put it in effect when it is due. Not while KVOps is read-only."""
    found = open_recovery()
    if found is None or rollback.why_read_only() or clock.went_back():
        return
    with log.transaction():
        if Person.objects.active_reviewers().exists():
            _cancel(found)
        elif ReviewerRecovery.objects.filter(pk=found.pk, effective_at__lte=Now()).exists():
            _grant(found)


def _cancel(found: ReviewerRecovery) -> None:
    still = ReviewerRecovery.objects.filter(pk=found.pk, granted_at=None, cancelled_at=None)
    if still.update(cancelled_at=Now()):
        _record(Action.RECOVERY_CANCELLED, found, SWEEP)
        announcements.recovery(found, _("Recovery of %(email)s cancelled: a reviewer is active"), occasion="cancelled")


def _grant(found: ReviewerRecovery) -> None:
    still = ReviewerRecovery.objects.filter(pk=found.pk, granted_at=None, cancelled_at=None)
    if not still.update(granted_at=Now()):
        return
    user = people_setup.login_of(found.email, actor=SWEEP, name=found.name)
    people_setup.activate(user, actor=SWEEP)
    if not user.person.grants.filter(role=Role.REVIEWER, revoked_at=None).exists():
        people_setup.grant(user.person, Role.REVIEWER, actor=SWEEP, recovery=found)
    invitations.post(user.person, actor=SWEEP)
    _record(Action.RECOVERY_GRANTED, found, SWEEP)
    announcements.recovery(found, _("Recovery in effect: %(email)s is a reviewer now"), occasion="granted")


def _record(action: Action, found: ReviewerRecovery, actor: log.Actor, *, until: str = "") -> None:
    log.record(
        action,
        actor=actor,
        subject=f"recovery:{found.pk}",
        subject_label=found.email,
        details={"reason": found.reason, "until": until},
    )
