"""People come and go: each condition of a change of roles, and of the recovery of the reviewer, one by one."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.db.models import F
from django.db.models.functions import Now

from audit.models import Entry
from kvops.approvals import gate as approval_gate
from kvops.approvals.evidence import digest_of
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, DatabaseRollback, Notification, Person, ReviewerRecovery, Role, RoleGrant
from kvops.people.setup import SetupRefused
from kvops.refusals import Refused
from kvops.roles import recovery, requests
from kvops.roles.requests import RoleChange, RolesRefused
from tests import make
from tests.gate.changing_roles import approve, ask, invite, take_effect
from tests.gate.test_bypasses import at_once
from tests.gate.world import tampered

pytestmark = pytest.mark.django_db
OPERATOR, REVIEWER, AUDITOR = Role.OPERATOR, Role.REVIEWER, Role.AUDITOR
ALONE = "You are the only active reviewer, and nobody approves their own request. Have an operator ask"
NOBODY = "No other reviewer is active, so nobody could decide this."
ONLY = "Reviewer is the only active reviewer. Grant the role to another person first"


@pytest.fixture
def second(people: make.People) -> Person:
    """Another reviewer."""
    return make.person("second", REVIEWER)


def refused(change: RoleChange, by: Person) -> str:
    return str(requests.why_not_ask(change, by=by))


# Asking


@pytest.mark.parametrize("who", ["operator", "reviewer"])
def test_operators_and_reviewers_ask(people: make.People, second: Person, who: str) -> None:
    asked = ask("grant", people.auditor, OPERATOR, by=getattr(people, who))
    assert (asked.state, asked.subject) == ("pending", f"person:{people.auditor.pk}")


def test_a_long_reason_is_cut(people: make.People) -> None:
    asked = requests.ask(RoleChange.of("grant", people.auditor, OPERATOR), by=people.operator, reason="xy" * 1_500)
    assert "xy" * 1_000 + '"' in asked.evidence


@pytest.mark.parametrize("action", ["grant", "revoke", "invite"])
def test_a_request_names_a_role(people: make.People, action: str) -> None:
    with pytest.raises(RolesRefused, match="Choose at least one role"):
        ask(action, people.operator2, by=people.operator)


def test_one_request_about_a_person_at_a_time(people: make.People) -> None:
    first = ask("grant", people.auditor, OPERATOR, by=people.operator)
    assert f"Approval {first.pk} already asks" in refused(RoleChange.of("deactivate", people.auditor), people.operator2)
    approve(first, by=people.reviewer)
    assert f"Approval {first.pk} already asks" in refused(
        RoleChange.of("revoke", people.auditor, AUDITOR), people.operator
    )
    assert refused(RoleChange.of("grant", people.operator2, AUDITOR), people.operator) == ""


def test_one_invitation_to_an_address_at_a_time(people: make.People) -> None:
    first = invite(OPERATOR, by=people.operator)
    assert first.subject.startswith("invitation:")
    assert f"Approval {first.pk}" in refused(RoleChange.invitation("MIKA@example.com ", "M", AUDITOR), people.operator)
    assert refused(RoleChange.invitation("ken@example.com", "K", AUDITOR), people.operator) == ""


def test_an_address_is_one(people: make.People) -> None:
    with pytest.raises(SetupRefused, match="is not an e-mail address"):
        RoleChange.invitation("mika", "Mika", OPERATOR)


def deactivated(people: make.People) -> Person:
    make.deactivate(people.operator2)
    return people.operator2


SENSELESS: list[tuple[Callable[[make.People], RoleChange], str]] = [
    (lambda p: RoleChange.of("grant", p.operator2, OPERATOR), "Operator2 holds the role already"),
    (lambda p: RoleChange.of("grant", p.operator2, AUDITOR, OPERATOR), "Operator2 holds the role already"),
    (lambda p: RoleChange.of("revoke", p.operator2, AUDITOR), "Operator2 does not hold the role"),
    (lambda p: RoleChange.of("revoke", p.operator2, OPERATOR, AUDITOR), "Operator2 does not hold the role"),
    (lambda p: RoleChange.of("grant", deactivated(p), AUDITOR), "Operator2 is deactivated. Invite the person again"),
    (lambda p: RoleChange.of("revoke", deactivated(p), OPERATOR), "Operator2 is deactivated"),
    (lambda p: RoleChange.of("deactivate", deactivated(p)), "Operator2 is deactivated"),
    (lambda p: RoleChange.invitation(p.operator2.email, "x", AUDITOR), "Operator2 has a login. Ask for the role on"),
    (lambda p: RoleChange.of("revoke", p.reviewer, REVIEWER), ONLY),
    (lambda p: RoleChange.of("deactivate", p.reviewer), ONLY),
]


@pytest.mark.parametrize(("change", "why"), SENSELESS)
def test_what_makes_no_sense_is_not_asked_for(
    people: make.People, change: Callable[[make.People], RoleChange], why: str
) -> None:
    assert refused(change(people), people.operator).startswith(why)


@pytest.mark.parametrize("action", ["revoke", "deactivate"])
@pytest.mark.parametrize("other", ["deactivated", "invited", "without the role"])
def test_a_reviewer_who_cannot_sign_in_does_not_count(
    people: make.People, second: Person, action: str, other: str
) -> None:
    if other == "deactivated":
        make.deactivate(second)
    elif other == "invited":
        second.logins.update(password="!")
    else:
        make.revoke(second, REVIEWER)
    roles = [REVIEWER] if action == "revoke" else []
    assert refused(RoleChange.of(action, people.reviewer, *roles), people.operator).startswith(ONLY)


def test_other_roles_of_the_only_reviewer_can_be_revoked(people: make.People) -> None:
    make.grant(people.reviewer, OPERATOR)
    change = RoleChange.of("revoke", people.reviewer, OPERATOR)
    assert refused(change, people.operator).startswith(NOBODY)  # about the only one who decides
    make.person("second", REVIEWER)
    assert refused(change, people.operator) == ""


def test_a_person_without_the_password_can_lose_the_role_of_a_reviewer(people: make.People, second: Person) -> None:
    second.logins.update(password="!")
    assert refused(RoleChange.of("revoke", second, REVIEWER), people.operator) == ""


# Before it is sent: would anybody be able to decide?


def test_the_only_reviewer_is_told_to_have_an_operator_ask(people: make.People) -> None:
    assert refused(RoleChange.of("grant", people.auditor, OPERATOR), people.reviewer).startswith(ALONE)
    assert refused(RoleChange.of("grant", people.auditor, OPERATOR), people.operator) == ""


def test_nobody_could_decide_about_the_only_reviewer(people: make.People) -> None:
    for by in (people.operator, people.reviewer):
        assert refused(RoleChange.of("grant", people.reviewer, AUDITOR), by).startswith(NOBODY)


def test_with_a_second_reviewer_they_decide_about_each_other(people: make.People, second: Person) -> None:
    assert refused(RoleChange.of("grant", people.reviewer, AUDITOR), people.operator) == ""
    assert refused(RoleChange.of("grant", people.auditor, OPERATOR), people.reviewer) == ""
    assert refused(RoleChange.of("grant", second, AUDITOR), people.reviewer).startswith(ALONE)


# Deciding


@pytest.mark.parametrize("decide", [approval_gate.approve, approval_gate.reject])
def test_nobody_decides_on_their_own_roles(people: make.People, second: Person, decide: Callable[..., None]) -> None:
    asked = ask("deactivate", second, by=people.operator)
    with pytest.raises(ApprovalRefused, match="This is about your own roles; another reviewer must decide"):
        decide(asked, by=second, shown=asked.digest, reason="no longer needed")
    assert list(ApprovalRequest.objects.waiting_for(second)) == []
    assert list(ApprovalRequest.objects.waiting_for(people.reviewer)) == [asked]


def test_what_lost_its_sense_is_not_approved(people: make.People, second: Person) -> None:
    asked = ask("revoke", people.reviewer, REVIEWER, by=people.operator)
    third = make.person("third", REVIEWER)
    make.deactivate(second)
    make.revoke(third, REVIEWER)
    with pytest.raises(ApprovalRefused, match="Only a reviewer"):
        approve(asked, by=third)
    make.revoke(people.reviewer, REVIEWER)
    make.grant(third, REVIEWER)
    with pytest.raises(ApprovalRefused, match="does not hold the role"):
        approve(asked, by=third)


# In force


def test_a_grant_is_in_force_with_the_approval(people: make.People) -> None:
    asked = take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    [grant] = people.auditor.grants.filter(role=OPERATOR)
    assert (asked.state, asked.starter, grant.approval) == ("used", people.operator, asked)
    assert people.auditor.roles() == [OPERATOR, AUDITOR]


def test_a_revocation_is_in_force_with_the_approval(people: make.People) -> None:
    asked = take_effect(ask("revoke", people.operator2, OPERATOR, by=people.operator), by=people.reviewer)
    [grant] = people.operator2.grants.all()
    assert (grant.revocation, grant.revoked_by) == (asked, str(people.operator))
    assert not people.operator2.holds(OPERATOR)


def test_a_deactivation_takes_roles_login_and_password(people: make.People) -> None:
    make.grant(people.operator2, AUDITOR)
    take_effect(ask("deactivate", people.operator2, by=people.operator), by=people.reviewer)
    [user] = people.operator2.logins.all()
    assert (people.operator2.roles(), user.is_active, user.has_usable_password()) == ([], False, False)


def test_each_change_is_recorded_by_the_person_who_asked(people: make.People) -> None:
    asked = take_effect(ask("deactivate", people.operator2, by=people.operator), by=people.reviewer)
    found = Entry.objects.filter(subject=f"person:{people.operator2.pk}").order_by("seq")
    assert [one.action for one in found] == ["person.role_revoked", "person.deactivated"]
    assert {one.details["approval"] for one in found} == {asked.pk}
    assert {one.actor_id for one in found} == {people.operator.pk}


def test_the_person_and_all_reviewers_are_told(people: make.People, second: Person) -> None:
    asked = take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    told = Notification.objects.filter(event="person.changed")
    assert {one.person for one in told} == {people.auditor, people.reviewer, second}
    assert {one.occasion for one in told} == {f"approval {asked.pk}"}
    waiting = Notification.objects.filter(event="approval.waiting")
    assert {one.person for one in waiting} == {people.auditor, people.reviewer, second}


def edited(asked: ApprovalRequest) -> None:
    text = asked.evidence.replace('"roles":["operator"]', '"roles":["reviewer"]')
    tampered(asked, evidence=text, digest=digest_of(text))
    asked.refresh_from_db()


def between(people: make.People, second: Person, asked: ApprovalRequest) -> dict[str, tuple[Callable[[], object], str]]:
    """What may happen between the approval and its effect."""
    return {
        "approver revoked": (lambda: make.revoke(second, REVIEWER), "approved this and is no longer a reviewer"),
        "approver deactivated": (lambda: make.deactivate(second), "approved this and is no longer a reviewer"),
        "asker revoked": (
            lambda: make.revoke(people.reviewer, REVIEWER),
            "Reviewer asked for this and is neither operator nor reviewer any more",
        ),
        "asker deactivated": (lambda: make.deactivate(people.reviewer), "neither operator nor reviewer any more"),
        "withdrawn": (lambda: approval_gate.withdraw(asked, by=people.reviewer), "not approved: withdrawn"),
        "too late": (lambda: tampered(asked, use_by=Now() - timedelta(seconds=1)), "entry in the audit log|expired"),
        "edited": (lambda: edited(asked), "differs from its entry in the audit log"),
        "other roles": (lambda: make.grant(people.auditor, REVIEWER), "differs from the approved one"),
        "has it already": (lambda: make.grant(people.auditor, OPERATOR), "holds the role already"),
        "person deactivated": (lambda: make.deactivate(people.auditor), "Auditor is deactivated"),
    }


@pytest.mark.parametrize("what", between(None, None, None))  # type: ignore[arg-type]
def test_what_happens_between_approval_and_effect_refuses_it(people: make.People, second: Person, what: str) -> None:
    asked = approve(ask("grant", people.auditor, OPERATOR, by=people.reviewer), by=second)
    happens, why = between(people, second, asked)[what]
    happens()
    with pytest.raises(Refused, match=why):
        requests.use(asked, by=people.reviewer)
    assert not RoleGrant.objects.filter(approval=asked).exists()


def test_the_last_reviewer_is_kept_although_it_was_approved(people: make.People, second: Person) -> None:
    asked = approve(ask("revoke", people.reviewer, REVIEWER, by=people.operator), by=second)
    third = make.person("third", REVIEWER)
    make.deactivate(third)
    second.logins.update(password="!")
    with pytest.raises(RolesRefused, match=ONLY):
        requests.use(asked, by=people.operator)
    assert people.reviewer.holds(REVIEWER)


@pytest.mark.parametrize("who", ["auditor", "nobody"])
def test_nobody_without_a_role_to_ask_puts_it_in_force(people: make.People, who: str) -> None:
    asked = approve(ask("grant", people.operator2, AUDITOR, by=people.operator), by=people.reviewer)
    with pytest.raises(ApprovalRefused, match="Only an operator can start this"):
        requests.use(asked, by=getattr(people, who))


def test_another_operator_puts_it_in_force(people: make.People) -> None:
    asked = approve(ask("grant", people.operator2, AUDITOR, by=people.operator), by=people.reviewer)
    requests.use(asked, by=people.operator2)
    assert people.operator2.holds(AUDITOR)


def test_a_reviewer_withdraws_only_what_reviewers_ask_for(people: make.People, second: Person) -> None:
    asked = ask("grant", people.auditor, OPERATOR, by=people.reviewer)
    approval_gate.withdraw(asked, by=second)
    with pytest.raises(ApprovalRefused, match="Only an operator can withdraw"):
        approval_gate.withdraw(ask("grant", people.auditor, OPERATOR, by=people.reviewer), by=people.auditor)


# What depends on it


def test_what_a_revoked_reviewer_approved_is_not_put_in_force(people: make.People, second: Person) -> None:
    asked = approve(ask("grant", people.auditor, OPERATOR, by=people.operator), by=second)
    take_effect(ask("revoke", second, REVIEWER, by=people.operator), by=people.reviewer)
    with pytest.raises(ApprovalRefused, match="Second approved this and is no longer a reviewer"):
        requests.use(asked, by=people.operator)


# Invitations


def test_an_invited_person_gets_a_login_and_the_roles(people: make.People) -> None:
    asked = take_effect(invite(OPERATOR, AUDITOR, by=people.operator), by=people.reviewer)
    mika = Person.objects.get(email="mika@example.com")
    assert (mika.name, mika.roles(), mika.logins.get().has_usable_password()) == ("Mika", [OPERATOR, AUDITOR], False)
    assert {grant.approval for grant in mika.grants.all()} == {asked}


def test_before_the_approval_there_is_no_such_person(people: make.People) -> None:
    approve(invite(OPERATOR, by=people.operator), by=people.reviewer)
    assert not Person.objects.filter(email="mika@example.com").exists()


def test_a_deactivated_person_is_invited_again(people: make.People) -> None:
    take_effect(ask("deactivate", people.operator2, by=people.operator), by=people.reviewer)
    take_effect(invite(AUDITOR, by=people.operator, email=people.operator2.email), by=people.reviewer)
    user = people.operator2.logins.get()
    assert (people.operator2.roles(), user.is_active, user.has_usable_password()) == ([AUDITOR], True, False)
    assert Entry.objects.filter(action="person.activated").count() == 1


def test_an_address_that_became_known_is_not_invited(people: make.People) -> None:
    asked = approve(invite(OPERATOR, by=people.operator), by=people.reviewer)
    Person.objects.create(name="Mika", email="mika@example.com")
    with pytest.raises(ApprovalRefused, match="differs from the approved one"):
        requests.use(asked, by=people.operator)


# The recovery of the reviewer


def recover(email: str = "mika@example.com", reason: str = "she left us") -> ReviewerRecovery:
    return recovery.ask(email, name="Mika", reason=reason, actor=make.SETUP)


@pytest.fixture
def alone(people: make.People) -> make.People:
    """Nobody is an active reviewer."""
    make.deactivate(people.reviewer)
    return people


def pass_a_day(found: ReviewerRecovery, hours: float = 24.1) -> None:
    moved = timedelta(hours=hours)
    tampered(found, asked_at=F("asked_at") - moved, effective_at=F("effective_at") - moved)


def test_no_recovery_in_a_database_that_was_rolled_back(alone: make.People, estate: make.Estate) -> None:
    DatabaseRollback.objects.create(
        environment=estate.qa.environment, manifest_key="x", modified_at=Now(), sequence=9, hash="0" * 64,
        our_sequence=5,
    )  # fmt: skip
    with pytest.raises(ApprovalRefused, match="Read-only"):
        recover()


def test_everybody_is_told_of_a_recovery(alone: make.People) -> None:
    found = recover()
    told = {one.person for one in Notification.objects.filter(event="reviewer.recovery")}
    assert told == {alone.operator, alone.operator2, alone.auditor, alone.nobody}
    assert Entry.objects.get(action="recovery.asked").subject == f"recovery:{found.pk}"


def test_a_recovery_takes_effect_after_a_day(alone: make.People) -> None:
    found = recover()
    pass_a_day(found, 23.9)
    recovery.settle()
    assert not Person.objects.filter(email="mika@example.com").exists()
    pass_a_day(found, 0.2)
    recovery.settle()
    [grant] = RoleGrant.objects.filter(person__email="mika@example.com")
    assert (grant.role, grant.recovery, grant.approval) == ("reviewer", found, None)


def test_a_recovery_takes_effect_once(alone: make.People) -> None:
    pass_a_day(recover())
    recovery.settle()
    recovery.settle()
    assert Entry.objects.filter(action="recovery.granted").count() == 1
    assert Notification.objects.filter(event="person.invited").count() == 1


def test_a_known_person_is_recovered_without_another_login(alone: make.People) -> None:
    pass_a_day(recover(alone.operator.email))
    recovery.settle()
    assert alone.operator.roles() == [OPERATOR, REVIEWER]
    assert not Notification.objects.filter(event="person.invited").exists()


def test_a_deactivated_reviewer_is_recovered(alone: make.People) -> None:
    pass_a_day(recover(alone.reviewer.email))
    recovery.settle()
    assert alone.reviewer.holds(REVIEWER)


def test_a_recovery_is_cancelled_if_a_reviewer_becomes_active(alone: make.People) -> None:
    found = recover()
    pass_a_day(found)
    make.person("second", REVIEWER)
    recovery.settle()
    found.refresh_from_db()
    assert (found.granted_at, found.cancelled_at is not None) == (None, True)
    assert Notification.objects.filter(event="reviewer.recovery", occasion="cancelled").exists()
    assert Entry.objects.filter(action="recovery.cancelled").count() == 1


def test_a_cancelled_recovery_makes_room_for_another(alone: make.People) -> None:
    recover()
    second = make.person("second", REVIEWER)
    recovery.settle()
    make.deactivate(second)
    assert recover("ken@example.com").email == "ken@example.com"


def test_nothing_is_recovered_while_the_product_is_read_only(
    alone: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_a_day(recover())
    for name in ("kvops.roles.recovery.rollback.why_read_only", "kvops.roles.recovery.clock.went_back"):
        with monkeypatch.context() as patch:
            patch.setattr(name, lambda: "x")
            recovery.settle()
    assert not Person.objects.filter(email="mika@example.com").exists()


def test_without_a_recovery_there_is_nothing_to_settle(people: make.People) -> None:
    entries = Entry.objects.count()
    recovery.settle()
    assert Entry.objects.count() == entries


# Two at once


def used(asked: ApprovalRequest) -> None:
    try:
        requests.use(asked, by=asked.requester)
    except RolesRefused as refused:
        raise ApprovalRefused(str(refused)) from refused


@pytest.mark.django_db(transaction=True)
def test_two_revocations_at_once_leave_a_reviewer() -> None:
    people, second = make.everybody(), make.person("second", REVIEWER)
    one = approve(ask("revoke", people.reviewer, REVIEWER, by=people.operator), by=second)
    other = approve(ask("deactivate", second, by=people.operator), by=people.reviewer)
    assert sorted(at_once(partial(used, one), partial(used, other))) == [False, True]
    assert Person.objects.active_reviewers().count() == 1
