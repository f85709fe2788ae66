"""The one gate: everything that needs a second person passes through here (design: approval requests).

Every move is one conditional UPDATE; losing a race is an error, never a silent success. The view that catches a
`Refused` records it in a transaction of its own. While an emergency stop is on, `claim` and `still_valid` refuse
everything approved for the environment except the release.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.models import Entry
from kvops import clock, rollback, timing
from kvops.approvals import announcements, risks
from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.models import ApprovalRequest, Environment, Person, Role
from kvops.names import visible
from kvops.operations import registry
from kvops.refusals import Refused
from kvops.runs import emergency
from kvops.wording import Words, columns, insist_explained, say, sentence_of, typed

State = ApprovalRequest.State
MAX_EVIDENCE = 65536


class ApprovalRefused(Refused):
    """The gate refused; the message gives the reason in one sentence."""


def submit(
    kind: ApprovalRequest.Kind,
    *,
    subject: str,
    title: str,
    evidence: Mapping[str, object],
    requester: Person,
    environment: Environment | None = None,
    standing_until: datetime | None = None,
) -> ApprovalRequest:
    """Create a pending request, inside the caller's transaction. Raises ApprovalRefused.

    `standing_until` is the end of a standing approval (`kvops.approvals.standing`).
    """
    log.insist()
    insist_writable()
    if not registry.REQUESTS[kind].has_asker(requester):
        raise ApprovalRefused(_("Only an operator can ask for an approval."))
    text = canonical_evidence(evidence)
    if len(text.encode()) > MAX_EVIDENCE:
        raise ApprovalRefused(_("The evidence is larger than 64 KiB; it must name its lists by digest."))
    if ApprovalRequest.objects.filter(created_at__gt=Now()).exists():
        raise ApprovalRefused(_("The database clock is behind the newest request. Have it checked first."))
    if ApprovalRequest.objects.pending().filter(kind=kind, subject=subject).exists():
        raise ApprovalRefused(_("A request for this is already waiting for a decision."))
    request = ApprovalRequest.objects.create(
        kind=kind,
        subject=subject,
        title=visible(title)[:300],
        environment=environment,
        evidence=text,
        digest=digest_of(text),
        requester=requester,
        decide_by=Now() + timedelta(seconds=timing.DECIDE_WITHIN),
        standing_until=standing_until,
    )
    request.refresh_from_db()
    _record(Action.APPROVAL_REQUESTED, request, requester, until=request.decide_by)
    announcements.asked(request)
    return request


def approve(
    request: ApprovalRequest, *, by: Person, shown: str, reason: str = "", accepted: Collection[str] = ()
) -> None:
    """Pending -> approved by another person, with the digest shown and each risk accepted. Raises ApprovalRefused."""
    named = risks.risks_of(request)
    if set(accepted) != set(named):
        raise ApprovalRefused(_("The request names risks. Accept each of them by its name, or reject the request."))
    _decide(request, State.APPROVED, by=by, shown=shown, reason=reason, accepted=named)


def reject(request: ApprovalRequest, *, by: Person, shown: str, reason: str) -> None:
    """Pending -> rejected, with the reason. Raises ApprovalRefused."""
    insist_explained(reason, ApprovalRefused, _("Give the reason, so that the operator can correct the request."))
    _decide(request, State.REJECTED, by=by, shown=shown, reason=reason)


def _decide(
    request: ApprovalRequest, state: ApprovalRequest.State, *, by: Person, shown: str, reason: str, **values: object
) -> None:
    with log.transaction():
        insist_writable()
        if not by.holds(Role.REVIEWER):
            raise ApprovalRefused(_("Only a reviewer can decide."))
        if why := why_not_by(request, by):
            raise ApprovalRefused(why)
        if shown != request.digest:
            raise ApprovalRefused(
                _("The evidence on your page differs from the evidence of the request. Load the page again.")
            )
        values |= {
            "state": state,
            "approver": by,
            "decided_at": Now(),
            **columns("reason", typed(reason.strip()), None),
        }
        if state == State.APPROVED:
            _insist_approvable(request)
            values["use_by"] = request.standing_until or Now() + timedelta(seconds=timing.USE_WITHIN)
        changed = (
            ApprovalRequest.objects.filter(pk=request.pk, state=State.PENDING, digest=shown, decide_by__gte=Now())
            .exclude(requester=by)
            .update(**values)
        )
        _one(changed, _("The request no longer waits for a decision, or its deadline has passed."))
        _told(request, by)
        action = Action.APPROVAL_APPROVED if state == State.APPROVED else Action.APPROVAL_REJECTED
        _record(action, request, by, until=request.use_by)


def withdraw(request: ApprovalRequest, *, by: Person, reason: Words = "") -> None:
    """Pending | approved -> withdrawn, by its requester or another operator. Raises ApprovalRefused."""
    with log.transaction():
        withdraw_within(request, by=by, reason=reason)


def withdraw_within(request: ApprovalRequest, *, by: Person, reason: Words = "") -> None:
    """The same within the caller's transaction. Raises ApprovalRefused."""
    log.insist()
    if not registry.REQUESTS[request.kind].has_asker(by):
        raise ApprovalRefused(_("Only an operator can withdraw a request."))
    given = typed(reason.strip()) if isinstance(reason, str) else sentence_of(reason)
    changed = ApprovalRequest.objects.filter(pk=request.pk, state__in=[State.PENDING, State.APPROVED]).update(
        state=State.WITHDRAWN, **columns("reason", given if str(given) else request.why, None)
    )
    _one(changed, _("The request is over; there is nothing to withdraw."))
    _told(request, by)
    _record(Action.APPROVAL_WITHDRAWN, request, by)


def withdraw_all(*, actor: log.Actor, reason: Words) -> None:
    """Every pending or approved request -> withdrawn, within the caller's transaction."""
    log.insist()
    for request in ApprovalRequest.objects.filter(state__in=[State.PENDING, State.APPROVED]):
        if ApprovalRequest.objects.filter(pk=request.pk, state=request.state).update(
            state=State.WITHDRAWN, **columns("reason", reason, None)
        ):
            _told(request)
            _record(Action.APPROVAL_WITHDRAWN, request, actor)


def expire() -> int:
    """Close the requests whose time is over. Return their number. Validity never depends on this function."""
    late = Q(state=State.PENDING, decide_by__lt=Now()) | Q(state=State.APPROVED, use_by__lt=Now())
    expired = 0
    for request in ApprovalRequest.objects.filter(late):
        with log.transaction():
            if ApprovalRequest.objects.filter(late, pk=request.pk).update(state=State.EXPIRED):
                _told(request)
                _record(Action.APPROVAL_EXPIRED, request, log.Actor.system("sweep"))
                expired += 1
    return expired


def claim(
    request: ApprovalRequest, *, kind: ApprovalRequest.Kind, subject: str, digest: str, by: Person
) -> ApprovalRequest:
    """Approved -> used, in the caller's transaction that creates the run. Raises ApprovalRefused.

    The caller derives `kind`, `subject` and `digest` from the action it is about to take. Both people must still hold
    their roles, the starter must not be the approver, and the audit log must hold the request and the decision. An
    emergency stop of the environment refuses the claim.
    """
    log.insist()
    request = ApprovalRequest.objects.select_related("requester", "approver", "environment").get(pk=request.pk)
    insist_writable()
    if request.environment:
        emergency.lock(request.environment)
    insist_not_stopped(request)
    if not (of := registry.REQUESTS[kind]).has_asker(by):
        raise ApprovalRefused(_("Only an operator can start this."))
    if request.approver is None or request.state != State.APPROVED:
        raise ApprovalRefused(say(_("The request is not approved: %(state)s."), state=State(request.state).label))
    if not of.has_asker(request.requester):
        raise ApprovalRefused(
            say(_("%(name)s asked for this and is no longer an operator. Ask again."), name=request.requester.name)
        )
    if not request.approver.holds(Role.REVIEWER):
        raise ApprovalRefused(
            say(_("%(name)s approved this and is no longer a reviewer. Ask again."), name=request.approver.name)
        )
    if request.approver_id == by.pk:
        raise ApprovalRefused(_("You approved this; another person must start it."))
    if (kind, subject, digest) != (request.kind, request.subject, request.digest):
        raise ApprovalRefused(_("The action differs from the approved one. Ask again."))
    insist_recorded(request)
    changed = (
        ApprovalRequest.objects.filter(pk=request.pk, state=State.APPROVED, digest=digest, use_by__gte=Now())
        .exclude(approver=by)
        .update(state=State.USED, starter=by, used_at=Now())
    )
    _one(changed, _("The approval was used, withdrawn or has expired."))
    request.refresh_from_db()
    _record(Action.APPROVAL_USED, request, by, until=request.use_by)
    return request


def still_valid(request: ApprovalRequest) -> None:
    """Raise ApprovalRefused if a role is gone or an emergency stop is on. Call it before each chunk of a run."""
    fresh = ApprovalRequest.objects.select_related("requester", "approver", "starter", "environment").get(pk=request.pk)
    insist_writable()
    insist_not_stopped(fresh)
    # By constraint only a used request has a starter.
    if fresh.approver is None or fresh.starter is None:
        raise ApprovalRefused(_("The approval behind this run is not in use."))
    if not fresh.approver.holds(Role.REVIEWER):
        raise ApprovalRefused(say(_("%(name)s approved this and is no longer a reviewer."), name=fresh.approver.name))
    for person in (fresh.requester, fresh.starter):
        if not person.holds(Role.OPERATOR):
            raise ApprovalRefused(say(_("%(name)s is no longer an operator."), name=person.name))
    insist_recorded(fresh)


def insist_recorded(request: ApprovalRequest) -> None:
    """Raise ApprovalRefused unless the audit log agrees with the request: rows changed elsewhere are not valid."""
    decided = (request.use_by, request.reason, request.accepted)
    moves: list[_Move] = [
        (Action.APPROVAL_REQUESTED, request.requester_id, request.decide_by, "", []),
        (Action.APPROVAL_APPROVED, request.approver_id, *decided),
    ]
    if request.state == State.USED:
        moves.append((Action.APPROVAL_USED, request.starter_id, *decided))
    if digest_of(request.evidence) != request.digest or not all(_recorded(request, move) for move in moves):
        raise ApprovalRefused(_("The request differs from its entry in the audit log. Have the database checked."))


type _Move = tuple[Action, int | None, datetime | None, str, list[str]]
"""An entry that must exist: action, person, end of validity, reason, and accepted risks."""


def _recorded(request: ApprovalRequest, move: _Move) -> bool:
    """Whether exactly one entry records this move by this person, valid for at least as long as the request."""
    action, person, until, reason, accepted = move
    entries = list(Entry.objects.filter(subject=f"approval:{request.pk}", action=action))
    if len(entries) != 1 or until is None:
        return False
    told = entries[0]
    return (
        told.actor_id == person
        and (told.digest, told.subject_label, told.environment) == (request.digest, request.title, _slug(request))
        and (told.details["kind"], told.details["of"]) == (request.kind, request.subject)
        and told.details["reason"] == reason[:500]
        and told.details.get("accepted", []) == accepted  # earlier versions did not record it
        and until <= datetime.fromisoformat(told.details["until"])
    )


def _slug(request: ApprovalRequest) -> str:
    return request.environment.slug if request.environment else ""


def insist_writable() -> None:
    """Raise ApprovalRefused if the database was rolled back or its clock was set back."""
    if why := rollback.why_read_only():
        raise ApprovalRefused(why)
    if clock.went_back():
        raise ApprovalRefused(
            _("The database's clock is behind the newest entry of the audit log. Set it right first.")
        )


def insist_not_stopped(request: ApprovalRequest) -> None:
    """Raise ApprovalRefused while the environment's emergency stop is on, except for the release of the stop."""
    if request.kind != ApprovalRequest.Kind.RELEASE_STOP and (why := emergency.why_stopped(request.environment)):
        raise ApprovalRefused(why)


def _one(changed: int, sentence: str | Promise) -> None:
    if changed != 1:
        raise ApprovalRefused(sentence)


def why_not_by(request: ApprovalRequest, person: Person) -> str | Promise:
    """The reason why this person cannot decide on the request; empty if its kind has none."""
    if request.requester_id == person.pk:
        return _("You asked for this yourself; another person must decide.")
    of_kind = registry.REQUESTS[request.kind].why_not_by
    return of_kind(request, person) if of_kind else ""


def _insist_approvable(request: ApprovalRequest) -> None:
    why_not = registry.REQUESTS[request.kind].why_not
    if why_not and (reason := why_not(request)):
        raise ApprovalRefused(reason)


def _told(request: ApprovalRequest, by: Person | None = None) -> None:
    request.refresh_from_db()
    if decided := registry.REQUESTS[request.kind].decided:
        decided(request)
    announcements.announce_decision(request, by)


def _record(action: Action, request: ApprovalRequest, by: Person | log.Actor, *, until: datetime | None = None) -> None:
    log.record(
        action,
        actor=by.actor if isinstance(by, Person) else by,
        environment=_slug(request),
        subject=f"approval:{request.pk}",
        subject_label=request.title,
        digest=request.digest,
        details={
            "kind": request.kind,
            "reason": request.reason[:500],
            "of": request.subject,
            "until": until.isoformat() if until else "",
            "accepted": request.accepted,
        },
    )
