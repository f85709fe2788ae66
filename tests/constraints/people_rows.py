"""The table's part about roles, logins and the recovery of the reviewer."""

import json
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from django.db.models import Max
from django.db.models.functions import Now

from audit.models import Entry
from kvops.models import ApprovalRequest, Person, ReviewerRecovery, RoleGrant, User
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, change
from tests.constraints.rows import EPOCH, RowAttempt, columns
from tests.make import past_the_triggers

DAY = timedelta(days=1)
GRANTED = "a role is granted by a request that another person approved for it"
RECOVERED = "a recovery grants its person the role of a reviewer"
AT_SETUP = "a role is granted without an approval only at the first set-up"
KNOWN = "the audit log knows the decision behind a role"
EDITED = "a granted role cannot be edited"
REVOKED = "a role is revoked by a request that another person approved"
REVOKED_AT = "the database says when a role is revoked"
LAST = "the last active reviewer keeps the role"
LOGIN = "a login is deactivated or activated by a request that another person approved"
ENDED = "a recovery cannot be edited"
NO_REVIEWER = "a recovery is for an installation without an active reviewer"
GRANT_FROZEN: dict[str, object] = {
    "id": 0,
    "person_id": 0,
    "role": "auditor",
    "granted_at": Now(),
    "granted_by": "y",
    "approval_id": 1,
    "recovery_id": 1,
}
GRANT_MOVED = {"revoked_at", "revoked_by", "revocation_id"}
RECOVERY_FROZEN: dict[str, object] = {
    "id": 0,
    "email": "y@example.com",
    "name": "y",
    "reason": "not read any more",
    "asked_by": "y",
    "asked_at": EPOCH,
    "effective_at": EPOCH,
}
RECOVERY_MOVED = {"granted_at", "cancelled_at"}


def asked(
    w: BackupsWorld, action: str, about: Person, state: str = "used", /, roles: Sequence[str] = (), **values: object
) -> ApprovalRequest:
    """A request about a person in this state."""
    text = json.dumps({"action": action, "person": {"email": about.email}, "roles": list(roles)})
    shown = {"evidence": text, "digest": sha256(text.encode()).hexdigest(), "environment": None}
    made = w.approval(state, **{"kind": "role", "subject": f"person:{about.pk}", **shown, **values})
    known("approval.requested", f"approval:{made.pk}", made.requester, made.digest)
    if made.approver:
        known("approval.approved", f"approval:{made.pk}", made.approver, made.digest)
    return made


def known(action: str, subject: str, by: Person, digest: str = "") -> None:
    """An entry of the audit log, past its chain."""
    said = {"action": action, "subject": subject, "actor_id": by.pk, "actor": "x", "digest": digest, "details": {}}
    with past_the_triggers():
        seq = (Entry.objects.aggregate(last=Max("seq"))["last"] or 0) + 1
        hashes = {"canonical": b"x", "prev_hash": b"0" * 32, "row_hash": sha256(str(seq).encode()).digest()}
        Entry.objects.create(seq=seq, at=Now(), **said, **hashes)


def forgets(action: str) -> None:
    """The audit log has no such entry."""
    with past_the_triggers():
        Entry.objects.filter(action=action).delete()


def unknown(w: BackupsWorld, action: str, **values: object) -> RoleGrant:
    """A grant by a request that lacks this entry, or has another one in its place."""
    request = asked(w, "grant", w.other, roles=["operator"])
    forgets(action)
    if values:
        known(action, f"approval:{request.pk}", values.get("by", request.requester), str(values.get("digest", "")))  # type: ignore[arg-type]
    return grants(w, approval=request)


def active(w: BackupsWorld, person: Person, role: str = "reviewer") -> RoleGrant:
    """Somebody who can sign in and holds the role since long ago."""
    with past_the_triggers():
        User.objects.create_login(person, "a-long-enough-secret")
        return RoleGrant.objects.create(person=person, role=role, granted_by="x", granted_at=EPOCH)


def grants(w: BackupsWorld, **values: object) -> RoleGrant:
    """The role of an operator for the other person, by its request."""
    approval = values.pop("approval", None) or asked(w, "grant", w.other, roles=["operator"])
    made = {"person": w.other, "role": "operator", "granted_by": "x", "approval": approval}
    return RoleGrant.objects.create(**{**made, **values})


def older(w: BackupsWorld) -> ApprovalRequest:
    """A request that an earlier transaction used."""
    found = asked(w, "grant", w.other, roles=["operator"])
    with past_the_triggers():
        change(found, used_at=EPOCH)
    return found


def later(w: BackupsWorld) -> RoleGrant:
    """A grant without a request after the first set-up."""
    active(w, w.reviewer)
    return RoleGrant.objects.create(person=w.other, role="auditor", granted_by="x")


def revokes(w: BackupsWorld, **values: object) -> None:
    """The revocation of an operator's role."""
    held = active(w, w.other, "operator")
    revocation = values.pop("revocation", None) or asked(w, "revoke", w.other, roles=["operator"])
    change(held, **{"revoked_at": Now(), "revoked_by": "x", "revocation": revocation, **values})


def of_the_last(w: BackupsWorld, action: str = "revoke") -> None:
    """The revocation of the role of the only reviewer who can sign in."""
    held = active(w, w.other)
    locked, invited = active(w, w.person("locked")), active(w, w.person("invited"))
    with past_the_triggers():
        User.objects.filter(person=locked.person).update(is_active=False)
        User.objects.filter(person=invited.person).update(password="!x")
    change(held, revoked_at=Now(), revoked_by="x", revocation=asked(w, action, w.other, roles=["reviewer"]))


def again_revoked(w: BackupsWorld) -> None:
    """A second revocation."""
    held = active(w, w.other, "operator")
    for _ in range(2):
        change(held, revoked_at=Now(), revoked_by="x", revocation=asked(w, "revoke", w.other))


def recovery(w: BackupsWorld, **values: object) -> ReviewerRecovery:
    """A recovery for the other person."""
    made = {
        "email": w.other.email,
        "name": "x",
        "reason": "no longer needed",
        "asked_by": "x",
        "effective_at": Now() + DAY,
    }
    return ReviewerRecovery.objects.create(**{**made, **values})


def due(w: BackupsWorld) -> ReviewerRecovery:
    """A recovery whose day is over."""
    found = recovery(w)
    known("recovery.asked", f"recovery:{found.pk}", w.operator)
    with past_the_triggers():
        change(found, asked_at=Now() - 2 * DAY, effective_at=Now() - DAY)
    return found


def recovered(w: BackupsWorld, **values: object) -> RoleGrant:
    """The role that a recovery gives."""
    found = due(w)
    change(found, granted_at=Now())
    made = {"person": w.other, "role": "reviewer", "granted_by": "x", "recovery": found}
    return RoleGrant.objects.create(**{**made, **values})


def recovered_unknown(w: BackupsWorld) -> RoleGrant:
    """The role of a recovery that the audit log does not know."""
    found = due(w)
    forgets("recovery.asked")
    change(found, granted_at=Now())
    return RoleGrant.objects.create(person=w.other, role="reviewer", granted_by="x", recovery=found)


def revoked_unknown(w: BackupsWorld) -> None:
    """A revocation by a request that the audit log does not know."""
    revocation = asked(w, "revoke", w.other, roles=["operator"])
    forgets("approval.approved")
    revokes(w, revocation=revocation)


def recovered_twice(w: BackupsWorld) -> None:
    """One recovery for two grants."""
    first = recovered(w)
    with past_the_triggers():
        change(first, revoked_at=Now(), revoked_by="x")
    made = {"person": w.other, "role": "reviewer", "granted_by": "x", "recovery_id": first.recovery_id}
    RoleGrant.objects.create(**made)


def login(w: BackupsWorld, *, action: str = "", active: bool, state: str = "used", about: Person | None = None) -> None:
    """A login that becomes active, or is so no longer, with this request."""
    user = User.objects.create(email=w.other.email, person=w.other, is_active=not active)
    if action:
        asked(w, action, about or w.other, state)
    change(user, is_active=active)


def while_active(w: BackupsWorld, *, begun: bool) -> None:
    """A recovery although a reviewer can sign in."""
    if begun:
        found = due(w)
        active(w, w.reviewer)
        change(found, granted_at=Now())
    else:
        active(w, w.reviewer)
        recovery(w)


def ended(w: BackupsWorld) -> None:
    """A recovery that was cancelled takes effect."""
    found = due(w)
    change(found, cancelled_at=Now())
    change(found, granted_at=Now(), cancelled_at=None)


PEOPLE = [
    RowAttempt(
        "approval_not_about_the_approver",
        lambda w: asked(w, "grant", w.reviewer, "approved", subject=f"person:{w.reviewer.pk}"),
    ),
    RowAttempt("a granted role is never deleted", lambda w: w.grant().delete()),
    RowAttempt("a role is held before it is revoked", lambda w: grants(w, revoked_at=Now(), revoked_by="x")),
    RowAttempt(
        "a role is held before it is revoked", lambda w: grants(w, revocation=asked(w, "revoke", w.other)), "by request"
    ),
    RowAttempt(KNOWN, lambda w: unknown(w, "approval.requested"), "no request"),
    RowAttempt(KNOWN, lambda w: unknown(w, "approval.approved"), "no decision"),
    RowAttempt(KNOWN, lambda w: unknown(w, "approval.approved", by=w.operator, digest=SHA), "of somebody else"),
    RowAttempt(KNOWN, revoked_unknown, "revoked"),
    RowAttempt("the audit log knows the recovery behind a role", recovered_unknown),
    RowAttempt("the database says when a role is granted", lambda w: grants(w, granted_at=EPOCH)),
    RowAttempt(
        GRANTED, lambda w: grants(w, approval=asked(w, "grant", w.other, "approved", roles=["operator"])), "not used"
    ),
    RowAttempt(GRANTED, lambda w: grants(w, approval=asked(w, "revoke", w.other, roles=["operator"])), "revocation"),
    RowAttempt(GRANTED, lambda w: grants(w, approval=asked(w, "grant", w.operator, roles=["operator"])), "of another"),
    RowAttempt(GRANTED, lambda w: grants(w, role="auditor"), "another role"),
    RowAttempt(
        GRANTED,
        lambda w: grants(w, approval=asked(w, "grant", w.other, roles=["operator"], kind="policy")),
        "another kind",
    ),
    RowAttempt(GRANTED, lambda w: grants(w, approval=older(w)), "used earlier"),
    RowAttempt(RECOVERED, lambda w: recovered(w, role="operator"), "another role"),
    RowAttempt(RECOVERED, lambda w: recovered(w, person=w.operator), "another person"),
    RowAttempt(RECOVERED, lambda w: recovered(w, approval=asked(w, "grant", w.other, roles=["reviewer"])), "both"),
    RowAttempt(
        RECOVERED,
        lambda w: RoleGrant.objects.create(person=w.other, role="reviewer", granted_by="x", recovery=due(w)),
        "not in effect",
    ),
    RowAttempt("kvops_rolegrant_recovery_id_key", recovered_twice),
    RowAttempt(AT_SETUP, later),
    *columns(
        EDITED,
        lambda w: active(w, w.other, "operator"),
        GRANT_FROZEN,
    ),
    RowAttempt(EDITED, again_revoked, "revoked twice"),
    RowAttempt("role_revoked_by_someone", lambda w: revokes(w, revoked_by="")),
    RowAttempt(REVOKED_AT, lambda w: revokes(w, revoked_at=EPOCH), "earlier"),
    RowAttempt(REVOKED_AT, lambda w: change(active(w, w.other, "operator"), revoked_by="x"), "never"),
    RowAttempt(REVOKED, lambda w: change(w.grant(), revoked_at=Now(), revoked_by="x"), "without"),
    RowAttempt(REVOKED, lambda w: revokes(w, revocation=asked(w, "revoke", w.other, "approved")), "not used"),
    RowAttempt(REVOKED, lambda w: revokes(w, revocation=asked(w, "grant", w.other)), "a grant"),
    RowAttempt(REVOKED, lambda w: revokes(w, revocation=asked(w, "revoke", w.operator)), "of another"),
    RowAttempt(LAST, of_the_last),
    RowAttempt(LAST, lambda w: of_the_last(w, "deactivate"), "deactivated"),
    RowAttempt("a login is never deleted", lambda w: w.user().delete()),
    *columns(
        "a login stays that of its person",
        lambda w: w.user(),
        {"id": 0, "person_id": 0, "email": "y@example.com"},
    ),
    RowAttempt(LOGIN, lambda w: login(w, active=False), "deactivated without"),
    RowAttempt(LOGIN, lambda w: login(w, active=False, action="revoke"), "deactivated by a revocation"),
    RowAttempt(LOGIN, lambda w: login(w, active=False, action="deactivate", state="approved"), "not used"),
    RowAttempt(LOGIN, lambda w: login(w, active=False, action="deactivate", about=w.operator), "of another"),
    RowAttempt(LOGIN, lambda w: login(w, active=True), "activated without"),
    RowAttempt(LOGIN, lambda w: login(w, active=True, action="deactivate"), "activated by a deactivation"),
    RowAttempt("a recovery is never deleted", lambda w: recovery(w).delete()),
    RowAttempt("a recovery begins now, without an end", lambda w: recovery(w, granted_at=Now()), "granted"),
    RowAttempt("a recovery begins now, without an end", lambda w: recovery(w, cancelled_at=Now()), "cancelled"),
    RowAttempt("a recovery begins now, without an end", lambda w: recovery(w, asked_at=EPOCH), "earlier"),
    *columns(ENDED, recovery, RECOVERY_FROZEN),
    RowAttempt(ENDED, ended, "cancelled"),
    RowAttempt("a recovery takes effect when its day is over", lambda w: change(recovery(w), granted_at=Now())),
    RowAttempt(
        "a recovery takes effect when its day is over",
        lambda w: change(due(w), granted_at=Now() - timedelta(minutes=1)),
        "back-dated",
    ),
    RowAttempt(NO_REVIEWER, lambda w: while_active(w, begun=False), "begun"),
    RowAttempt(NO_REVIEWER, lambda w: while_active(w, begun=True), "granted"),
    RowAttempt("recovery_email_is_case_folded", lambda w: recovery(w, email="Other@example.com")),
    RowAttempt("recovery_has_a_reason", lambda w: recovery(w, reason="")),
    RowAttempt("recovery_waits_for_24_hours", lambda w: recovery(w, effective_at=Now() + DAY - timedelta(minutes=1))),
    RowAttempt("recovery_granted_or_cancelled", lambda w: change(due(w), granted_at=Now(), cancelled_at=Now())),
    RowAttempt("recovery_one_at_a_time", lambda w: (recovery(w), recovery(w, email="y@example.com"))),
]
