"""Standing approvals: one decision that carries run after run until a date (design: the promise).

They exist for work that comes again by a schedule and is known beforehand. The digest covers the rule, its target,
its limits and its end, at most 90 days away. Such an approval is never used up. Each run carries it, and the start of
each run derives the rule again. The rights of both people, the emergency stop and the time are checked before every
chunk.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from django.db.models import CharField, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat, Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Person, Role
from kvops.runs import emergency
from kvops.wording import say

LONGEST = 90
"""Days. The longest validity of a standing approval; a constraint has the same limit."""

State = ApprovalRequest.State


def approval_in_force(kind: ApprovalRequest.Kind, subject: str) -> ApprovalRequest | None:
    """The newest approval of this kind in force for the subject; None if there is none."""
    found = ApprovalRequest.objects.filter(kind=kind, subject=subject, state=State.APPROVED, standing_until__gt=Now())
    return found.order_by("-pk").first()


def newest_request(kind: ApprovalRequest.Kind, subject: str) -> ApprovalRequest | None:
    """The newest request of this kind for the subject, in any state; None if there is none."""
    return ApprovalRequest.objects.filter(kind=kind, subject=subject).order_by("-pk").first()


def asked_and_in_force(
    kind: ApprovalRequest.Kind, *subjects: str
) -> Mapping[str, tuple[ApprovalRequest | None, ApprovalRequest | None]]:
    """For a page: the newest request and the newest approval in force of each of these subjects, in one query."""
    of_each = ApprovalRequest.objects.filter(kind=kind, subject__in=subjects).order_by("subject", "-pk")
    newest = of_each.distinct("subject").annotate(stands=Value(False))
    stands = of_each.filter(state=State.APPROVED, standing_until__gt=Now()).distinct("subject")
    both = newest.union(stands.annotate(stands=Value(True)), all=True)
    found = {(one.subject, one.stands): one for one in both}  # type: ignore[attr-defined]  # annotated above
    return {subject: (found.get((subject, False)), found.get((subject, True))) for subject in subjects}


def covering(kind: ApprovalRequest.Kind, page: str) -> QuerySet[ApprovalRequest]:
    """The requests about the subject of an outer query, such as clearing:1, that are pending or in force."""
    return ApprovalRequest.objects.filter(
        Q(state=State.PENDING) | Q(state=State.APPROVED, standing_until__gt=Now()),
        kind=kind,
        subject=Concat(Value(f"{page}:"), Cast(OuterRef("pk"), CharField())),
    )


def was_approved(kind: ApprovalRequest.Kind, subject: str) -> bool:
    """Whether a request of this kind for the subject was ever approved."""
    decided = ApprovalRequest.objects.filter(kind=kind, subject=subject, decided_at__isnull=False)
    return decided.exclude(state=State.REJECTED).exists()


def carry(request: ApprovalRequest, *, kind: ApprovalRequest.Kind, digest: str, actor: log.Actor) -> ApprovalRequest:
    """The approval for a run that the caller's transaction is about to create. Raises ApprovalRefused.

    `digest` is the digest of the rule as derived now. If target, limits or end differ from those approved, the approval
    is refused.
    """
    log.insist()
    fresh = _fresh(request)
    if fresh.environment:
        emergency.lock(fresh.environment)
    insist_standing(fresh)
    if (fresh.kind, fresh.digest) != (kind, digest):
        raise ApprovalRefused(_("The rule is no longer the one that was approved. Ask again."))
    log.record(
        Action.APPROVAL_CARRIED,
        actor=actor,
        environment=fresh.environment.slug if fresh.environment else "",
        subject=f"approval:{fresh.pk}",
        subject_label=fresh.title,
        digest=fresh.digest,
        details={"kind": fresh.kind, "of": fresh.subject},
    )
    return fresh


def carry_in_force(
    kind: ApprovalRequest.Kind,
    subject: str,
    *,
    derive: Callable[[ApprovalRequest], str],
    actor: log.Actor,
    person: Person | None = None,
) -> ApprovalRequest:
    """The approval in force for the subject, carried for a run that the caller's transaction is about to create.

    `derive` gives the digest of the rule as it is now, and raises a refusal if a condition of the rule does not hold.
    Raises ApprovalRefused without an approval in force, if the starting `person` approved it, and as `carry` does.
    """
    approval = approval_in_force(kind, subject)
    if approval is None:
        raise ApprovalRefused(_("No standing approval is in force. An operator asks for one, a reviewer decides."))
    if person is not None and approval.approver_id == person.pk:
        raise ApprovalRefused(_("You approved this; another person must start it."))
    return carry(approval, kind=kind, digest=derive(approval), actor=actor)


def insist_standing(request: ApprovalRequest) -> None:
    """Raise ApprovalRefused unless the approval is in force, both people hold their roles and no emergency stop is on.

    Called before every run and every chunk under the approval.
    """
    fresh = _fresh(request)
    approval_gate.insist_writable()
    approval_gate.insist_not_stopped(fresh)
    stands = ApprovalRequest.objects.filter(pk=fresh.pk, state=State.APPROVED, standing_until__gt=Now()).exists()
    # By constraint an approved request has an approver.
    if fresh.approver is None or not stands:
        raise ApprovalRefused(
            say(_("The standing approval is no longer in force: %(state)s. Ask again."), state=State(fresh.state).label)
        )
    if not fresh.requester.holds(Role.OPERATOR):
        raise ApprovalRefused(say(_("%(name)s is no longer an operator."), name=fresh.requester.name))
    if not fresh.approver.holds(Role.REVIEWER):
        raise ApprovalRefused(say(_("%(name)s approved this and is no longer a reviewer."), name=fresh.approver.name))
    approval_gate.insist_recorded(fresh)


def soon_over(request: ApprovalRequest) -> bool:
    """Whether the approval ends within a week."""
    return ApprovalRequest.objects.filter(pk=request.pk, standing_until__lt=Now() + timedelta(days=7)).exists()


def _fresh(request: ApprovalRequest) -> ApprovalRequest:
    return ApprovalRequest.objects.get(pk=request.pk)
