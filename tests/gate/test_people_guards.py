"""What requests about roles and a recovery say and write: sentences, evidence, entries and messages."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse

from audit import log
from audit.models import Entry
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Notification, Person, ReviewerRecovery, Role
from kvops.people import setup as people_setup
from kvops.people.setup import SetupRefused
from kvops.roles import recovery, requests
from kvops.roles.recovery import RecoveryRefused
from kvops.roles.requests import RoleChange, RolesRefused
from kvops.runbook import procedures
from kvops.wording import moment
from tests import make
from tests.gate.changing_roles import approve, ask, invite, take_effect
from tests.gate.world import tampered

pytestmark = pytest.mark.django_db
OPERATOR, REVIEWER, AUDITOR = Role.OPERATOR, Role.REVIEWER, Role.AUDITOR
ONLY = (
    "Reviewer is the only active reviewer. Grant the role to another person first, who signs in and so becomes active."
)
ALONE = "You are the only active reviewer, and nobody approves their own request. Have an operator ask for it; then "
NOBODY = "No other reviewer is active, so nobody could decide this. Have a second reviewer invited first."


def entry(action: str) -> dict[str, Any]:
    """The one entry of this action, without what the log adds."""
    found = Entry.objects.get(action=action)
    names = ("actor", "actor_id", "subject", "subject_label", "digest", "details")
    return {name: getattr(found, name) for name in names}


# Requests


def test_the_sentences_of_a_request_are_said_in_full(people: make.People) -> None:
    earlier = ask("grant", people.auditor, OPERATOR, by=people.operator)
    revoked, grant = RoleChange.of("revoke", people.reviewer, REVIEWER), RoleChange.of("grant", people.nobody, AUDITOR)
    told = {
        "Only an operator or a reviewer can ask for this.": (grant, people.auditor),
        f"Approval {earlier.pk} already asks for a change of this person. Wait for it or withdraw it.": (
            RoleChange.of("grant", people.auditor, OPERATOR), people.operator,
        ),
        ONLY: (revoked, people.operator),
        NOBODY: (RoleChange.of("grant", people.reviewer, AUDITOR), people.operator),
        f"{ALONE}you decide.": (grant, people.reviewer),
    }  # fmt: skip
    assert [str(requests.why_not_ask(change, by=by)) for change, by in told.values()] == list(told)


def test_a_decided_request_and_one_of_another_kind_do_not_wait(people: make.People) -> None:
    approval_gate.withdraw(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.operator)
    other = ask("grant", people.auditor, OPERATOR, by=people.operator)
    tampered(other, kind="restore")
    assert requests.why_not_ask(RoleChange.of("grant", people.auditor, OPERATOR), by=people.operator) == ""


def test_what_is_missing_is_said_in_full(people: make.People) -> None:
    reason_, role = "Give the reason. The reviewer decides by it.", "Choose at least one role."
    for roles, reason, told in (([OPERATOR], " ", reason_), ([], "no longer needed", role)):
        with pytest.raises(RolesRefused) as refused:
            requests.ask(RoleChange.of("grant", people.auditor, *roles), by=people.operator, reason=reason)
        assert str(refused.value) == told


def test_the_evidence_names_the_person_the_roles_and_the_reason(people: make.People) -> None:
    change = RoleChange.of("grant", people.auditor, OPERATOR, REVIEWER)
    assert change.evidence("no longer needed") == {
        "action": "grant", "roles": ["operator", "reviewer"], "holds": ["auditor"], "reason": "no longer needed",
        "person": {"id": people.auditor.pk, "name": "Auditor", "email": people.auditor.email},
    }  # fmt: skip
    invited = RoleChange.invitation("mika@example.com", "Mika", OPERATOR)
    assert invited.evidence("no longer needed") == {
        "action": "invite", "roles": ["operator"], "holds": [], "reason": "no longer needed",
        "person": {"id": None, "name": "Mika", "email": "mika@example.com"},
    }  # fmt: skip
    assert len(invited.subject) == len("invitation:") + 32


def test_a_request_is_about_the_person_as_they_are_now(people: make.People) -> None:
    asked = ask("grant", people.auditor, OPERATOR, by=people.operator)
    Person.objects.filter(pk=people.auditor.pk).update(name="Anna")
    assert RoleChange.asked_for(asked).name == "Anna"


def test_a_request_is_recorded(people: make.People) -> None:
    change = RoleChange.of("grant", people.auditor, OPERATOR, REVIEWER)
    asked = requests.ask(change, by=people.operator, reason="xy" * 1_001)
    assert asked.title == "Grant Auditor the role operator, reviewer"
    assert ("xy" * 1_000 in asked.evidence, "xy" * 1_001 in asked.evidence) == (True, False)
    assert entry("person.change_requested") == {
        "actor": people.operator.actor.text, "actor_id": people.operator.pk, "subject": f"approval:{asked.pk}",
        "subject_label": asked.title, "digest": asked.digest, "details": procedures.begun_over("people", []),
    }  # fmt: skip


def test_nobody_decides_for_themselves_in_full(people: make.People) -> None:
    asked = ask("grant", people.auditor, OPERATOR, by=people.operator)
    mine = "You asked for this yourself; another person must decide."
    assert str(approval_gate.why_not_by(asked, people.operator)) == mine
    own = "This is about your own roles; another reviewer must decide."
    assert (
        str(approval_gate.why_not_by(asked, people.auditor)) == str(requests.why_not_by(asked, people.auditor)) == own
    )
    assert approval_gate.why_not_by(asked, people.reviewer) == requests.why_not_by(asked, people.reviewer) == ""
    tampered(asked, kind="restore")
    assert approval_gate.why_not_by(ApprovalRequest.objects.get(pk=asked.pk), people.auditor) == ""


def test_an_asker_without_a_role_is_named(people: make.People) -> None:
    asked = approve(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    make.revoke(people.operator, OPERATOR)
    with pytest.raises(RolesRefused) as refused:
        requests.use(asked, by=people.operator2)
    told = "Operator asked for this and is neither operator nor reviewer any more. Ask again."
    assert str(refused.value) == told


# In force


def test_an_invited_person_has_the_name_of_the_request(people: make.People) -> None:
    take_effect(invite(OPERATOR, by=people.operator), by=people.reviewer)
    mika = Person.objects.get(email="mika@example.com")
    make.deactivate(mika)
    take_effect(invite(AUDITOR, by=people.operator), by=people.reviewer)
    assert (mika.name, entry("person.activated")["actor_id"]) == ("Mika", people.operator.pk)


def test_an_invitation_adds_what_is_missing_and_records_it(people: make.People) -> None:
    known = Person.objects.create(name="Mika", email="mika@example.com")
    make.grant(known, AUDITOR)
    asked = take_effect(invite(AUDITOR, OPERATOR, by=people.operator), by=people.reviewer)
    assert known.roles() == [OPERATOR, AUDITOR]
    granted = Entry.objects.filter(action="person.role_granted", subject=f"person:{known.pk}").latest("seq")
    assert (granted.actor_id, granted.details) == (people.operator.pk, {"role": "operator", "approval": asked.pk})
    [told] = Notification.objects.filter(event="person.invited")
    assert told.person == known


def test_a_revocation_takes_only_the_named_roles(people: make.People) -> None:
    make.grant(people.operator2, AUDITOR)
    asked = take_effect(ask("revoke", people.operator2, OPERATOR, by=people.operator), by=people.reviewer)
    assert people.operator2.roles() == [AUDITOR]
    assert entry("person.role_revoked")["details"] == {"role": "operator", "approval": asked.pk}


def test_requests_about_a_person_are_those_that_changed_something_too(people: make.People) -> None:
    first = take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    second = take_effect(ask("revoke", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    invited = take_effect(invite(OPERATOR, by=people.operator), by=people.reviewer)
    pending = ask("grant", people.operator2, AUDITOR, by=people.operator)
    assert list(requests.about(people.auditor)) == [second, first]
    assert list(requests.about(people.operator2)) == [pending]
    assert list(requests.about(Person.objects.get(email="mika@example.com"))) == [invited]
    for one in (first, second):
        tampered(one, subject="invitation:x")
    assert list(requests.about(people.auditor)) == [second, first]
    tampered(first, kind="restore")
    assert list(requests.about(people.auditor)) == [second]


# Logins


@pytest.mark.parametrize(("name", "shown"), [("Mika", "Mika"), ("", "mika")])
def test_a_login_has_the_name_and_a_verified_address(people: make.People, name: str, shown: str) -> None:
    with log.transaction():
        user = people_setup.login_of(" Mika@example.com", actor=make.SETUP, name=name)
        assert people_setup.login_of("mika@example.com", actor=make.SETUP) == user
    assert (user.person.name, user.person.email) == (shown, "mika@example.com")
    address = EmailAddress.objects.get(user=user)
    assert (address.email, address.verified, address.primary) == ("mika@example.com", True, True)
    assert entry("person.created")["subject"] == f"person:{user.person.pk}"


def test_a_login_without_a_name_has_that_of_the_address() -> None:
    with log.transaction():
        assert people_setup.login_of("ken@example.com", actor=make.SETUP).person.name == "ken"


def test_a_role_is_granted_by_somebody(people: make.People) -> None:
    take_effect(ask("grant", people.auditor, OPERATOR, by=people.operator), by=people.reviewer)
    assert people.auditor.grants.get(role=OPERATOR).granted_by == people.operator.actor.text


def test_a_role_that_was_revoked_is_not_held(people: make.People) -> None:
    asked = approve(ask("revoke", people.operator2, OPERATOR, by=people.operator), by=people.reviewer)
    make.revoke(people.operator2, OPERATOR)
    with pytest.raises(SetupRefused) as refused, log.transaction():
        people_setup.revoke(people.operator2, OPERATOR, actor=make.SETUP, approval=asked)
    assert str(refused.value) == f"{people.operator2} does not hold the role operator."


def test_an_active_login_is_not_activated_again(people: make.People) -> None:
    [user] = people.auditor.logins.all()
    with log.transaction():
        people_setup.activate(user, actor=make.SETUP)
    assert not Entry.objects.filter(action="person.activated").exists()


# The recovery of the reviewer


@pytest.fixture
def alone(people: make.People) -> make.People:
    """Nobody is an active reviewer."""
    make.deactivate(people.reviewer)
    return people


def recover(
    email: str = "mika@example.com", name: str = "Mika", reason: str = "she left as agreed"
) -> ReviewerRecovery:
    return recovery.ask(email, name=name, reason=reason, actor=make.SETUP)


def due(found: ReviewerRecovery) -> None:
    moved = timedelta(hours=24.1)
    tampered(found, asked_at=F("asked_at") - moved, effective_at=F("effective_at") - moved)
    recovery.settle()


def told(occasion: str, people: make.People) -> Notification:
    """What an operator is told of a recovery."""
    return Notification.objects.get(event="reviewer.recovery", occasion=occasion, person=people.operator)


def test_a_recovery_is_refused_in_full_sentences(people: make.People) -> None:
    active = "Reviewer is an active reviewer. Ask for the role on the page People."
    for reason, sentence in (
        (" ", "Give the reason for the recovery. Everybody is told it."),
        ("no longer needed", active),
    ):
        with pytest.raises(RecoveryRefused) as refused:
            recover(reason=reason)
        assert str(refused.value) == sentence
    make.deactivate(people.reviewer)
    recover()
    with pytest.raises(RecoveryRefused) as refused:
        recover("ken@example.com")
    assert str(refused.value) == "A recovery for mika@example.com is already under way."


def test_a_recovery_is_kept_told_and_recorded(alone: make.People) -> None:
    found = recover(" Mika@example.com", " " + "m" * 201, " " + "xy" * 251)
    assert (found.email, found.name, found.reason, found.asked_by) == (
        "mika@example.com", "m" * 200, "xy" * 250, make.SETUP.text,
    )  # fmt: skip
    mail = told("asked", alone)
    title = f"Without an active reviewer: mika@example.com becomes reviewer at {moment(found.effective_at)}"
    assert (mail.title, mail.link, "xy" * 250 in str(mail.lines)) == (title, reverse("people"), True)
    assert entry("recovery.asked") == {
        "actor": make.SETUP.text, "actor_id": None, "subject": f"recovery:{found.pk}",
        "subject_label": "mika@example.com", "digest": "",
        "details": {"reason": "xy" * 250, "until": found.effective_at.isoformat()},
    }  # fmt: skip


def test_without_a_name_the_address_is_one(alone: make.People) -> None:
    assert recover(name=" ").name == "mika"


def test_a_recovery_in_effect_is_told_and_recorded(alone: make.People) -> None:
    found = recover()
    due(found)
    person = Person.objects.get(email="mika@example.com")
    assert (person.name, person.grants.get().recovery, person.grants.get().approval) == ("Mika", found, None)
    assert told("granted", alone).title == "Recovery in effect: mika@example.com is a reviewer now"
    assert entry("recovery.granted")["details"] == {"reason": "she left as agreed", "until": ""}
    assert entry("person.role_granted")["details"] == {"role": "reviewer"}


def test_a_cancelled_recovery_is_told(alone: make.People) -> None:
    recover()
    make.person("second", REVIEWER)
    recovery.settle()
    title = "Recovery of mika@example.com cancelled: a reviewer is active"
    assert told("cancelled", alone).title == title


@pytest.mark.parametrize("over", ["granted_at", "cancelled_at"])
@pytest.mark.parametrize("act", [recovery._grant, recovery._cancel])
def test_what_is_over_is_neither_granted_nor_cancelled(alone: make.People, over: str, act: Any) -> None:
    found = recover()
    tampered(found, **{over: Now()})
    other = recover("ken@example.com")
    with log.transaction():
        act(found)
    assert not Entry.objects.filter(action__in=["recovery.granted", "recovery.cancelled"]).exists()
    assert recovery.open_recovery() == other


def test_an_earlier_recovery_does_not_make_another_one_due(alone: make.People) -> None:
    earlier = recover()
    due(earlier)
    make.deactivate(Person.objects.get(email="mika@example.com"))
    recover("ken@example.com")
    recovery.settle()
    assert not Person.objects.filter(email="ken@example.com").exists()


def test_a_role_that_was_held_before_is_granted_again(alone: make.People) -> None:
    make.revoke(alone.reviewer, REVIEWER)
    due(recover(alone.reviewer.email))
    assert alone.reviewer.holds(REVIEWER)
