"""Approvals that stand: what a run may carry, and what is looked at again before every chunk under one."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import Exists, F
from django.db.models.functions import Now

from audit import log
from audit.models import Entry
from kvops import clock
from kvops.approvals import gate as approval_gate, standing
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, DatabaseRollback, Environment, Person, Role
from kvops.runs import emergency
from tests import make
from tests.gate import world as gate
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db

KIND = ApprovalRequest.Kind.DRILL
SUBJECT = "drill:qa"


def asked(world: GateWorld, subject: str = SUBJECT, *, nowhere: bool = False, **more: object) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            KIND,
            subject=subject,
            title="Drills",
            evidence={"cap": 1, **more},
            requester=world.people.operator,
            environment=None if nowhere else world.qa.environment,
            standing_until=clock.now() + timedelta(days=30),
        )


def allowed(world: GateWorld, request: ApprovalRequest) -> ApprovalRequest:
    approval_gate.approve(request, by=world.people.reviewer, shown=request.digest)
    request.refresh_from_db()
    return request


@pytest.fixture
def approved(world: GateWorld) -> ApprovalRequest:
    return allowed(world, asked(world))


def carry(request: ApprovalRequest, kind: ApprovalRequest.Kind = KIND, digest: str = "") -> ApprovalRequest:
    with log.transaction():
        return standing.carry(request, kind=kind, digest=digest or request.digest, actor=make.SETUP)


def test_what_stands_is_carried_again_and_again_and_each_time_recorded(approved: ApprovalRequest) -> None:
    assert [carry(approved), carry(approved)] == [approved, approved]
    told = Entry.objects.filter(action="approval.carried")
    assert [(one.subject, one.environment, one.digest, one.subject_label) for one in told] == [
        (f"approval:{approved.pk}", "qa", approved.digest, "Drills")
    ] * 2
    assert {(one.details["kind"], one.details["of"]) for one in told} == {("drill", SUBJECT)}
    approved.refresh_from_db()
    assert approved.state == "approved"


def test_what_belongs_to_no_environment_is_recorded_without_one(world: GateWorld) -> None:
    carry(allowed(world, asked(world, nowhere=True)))
    assert Entry.objects.get(action="approval.carried").environment == ""


def test_nothing_is_carried_outside_a_recorded_transaction(approved: ApprovalRequest) -> None:
    with pytest.raises(log.OutsideTransactionError):
        standing.carry(approved, kind=KIND, digest=approved.digest, actor=make.SETUP)


@pytest.mark.parametrize(("kind", "digest"), [(ApprovalRequest.Kind.INVESTIGATION, ""), (KIND, "0" * 64)])
def test_another_rule_than_the_approved_one_carries_nothing(
    approved: ApprovalRequest, kind: ApprovalRequest.Kind, digest: str
) -> None:
    with pytest.raises(ApprovalRefused, match=r"^The rule is no longer the one that was approved\. Ask again\.$"):
        carry(approved, kind, digest)
    assert not Entry.objects.filter(action="approval.carried").exists()


def in_force(world: GateWorld, person: Person | None, derive: Callable[[ApprovalRequest], str]) -> ApprovalRequest:
    with log.transaction():
        return standing.carry_in_force(KIND, SUBJECT, derive=derive, actor=make.SETUP, person=person)


def test_the_rule_as_it_is_now_decides_whether_the_approval_in_force_is_carried(
    world: GateWorld, approved: ApprovalRequest
) -> None:
    for person in (None, world.people.operator):
        assert in_force(world, person, lambda request: request.digest) == approved
    with pytest.raises(ApprovalRefused, match="The rule is no longer the one that was approved"):
        in_force(world, None, lambda _request: "0" * 64)
    assert Entry.objects.filter(action="approval.carried").count() == 2


def test_the_approver_starts_nothing_under_an_approval_that_stands(world: GateWorld, approved: ApprovalRequest) -> None:
    make.grant(world.people.reviewer, Role.OPERATOR)
    with pytest.raises(ApprovalRefused, match=r"^You approved this; another person must start it\.$"):
        in_force(world, world.people.reviewer, lambda request: request.digest)
    assert not Entry.objects.filter(action="approval.carried").exists()


def test_without_an_approval_in_force_nothing_is_derived_or_carried(world: GateWorld) -> None:
    asked(world)
    sentence = r"^No standing approval is in force\. An operator asks for one, a reviewer decides\.$"
    with pytest.raises(ApprovalRefused, match=sentence):
        in_force(world, None, lambda _request: pytest.fail("derived"))


def test_one_that_nobody_approved_carries_nothing(world: GateWorld) -> None:
    with pytest.raises(ApprovalRefused, match="is no longer in force: waiting for a decision"):
        carry(asked(world))


def withdrawn(world: GateWorld, request: ApprovalRequest) -> None:
    approval_gate.withdraw(request, by=world.people.operator, reason="no longer needed")


def over(world: GateWorld, request: ApprovalRequest) -> None:
    with gate.past_the_triggers():
        ApprovalRequest.objects.filter(pk=request.pk).update(
            standing_until=Now() - timedelta(seconds=1), use_by=Now() - timedelta(seconds=1)
        )


def no_operator(world: GateWorld, request: ApprovalRequest) -> None:
    make.revoke(world.people.operator, Role.OPERATOR)


def no_reviewer(world: GateWorld, request: ApprovalRequest) -> None:
    make.revoke(world.people.reviewer, Role.REVIEWER)


def stopped(world: GateWorld, request: ApprovalRequest) -> None:
    emergency.press(world.qa.environment, by=world.people.auditor)


def rolled_back(world: GateWorld, request: ApprovalRequest) -> None:
    DatabaseRollback.objects.create(
        environment=world.qa.environment,
        manifest_key="x",
        modified_at=Now(),
        sequence=10**6,
        hash="a" * 64,
        our_sequence=1,
    )


def longer(world: GateWorld, request: ApprovalRequest) -> None:
    with gate.past_the_triggers():
        ApprovalRequest.objects.filter(pk=request.pk).update(
            standing_until=F("standing_until") + timedelta(days=1), use_by=F("use_by") + timedelta(days=1)
        )


CHANGES: list[tuple[Callable[[GateWorld, ApprovalRequest], None], str]] = [
    (withdrawn, r"^The standing approval is no longer in force: withdrawn\. Ask again\.$"),
    (over, r"^The standing approval is no longer in force: approved\. Ask again\.$"),
    (no_operator, r"^Operator is no longer an operator\.$"),
    (no_reviewer, r"^Reviewer approved this and is no longer a reviewer\.$"),
    (stopped, "mergency"),
    (rolled_back, "older state|contradict"),
    (longer, "differs from its entry in the audit log"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_no_longer_holds_carries_nothing_and_lets_nothing_go_on(
    world: GateWorld, approved: ApprovalRequest, change: Callable[[GateWorld, ApprovalRequest], None], words: str
) -> None:
    standing.insist_standing(approved)
    allowed(world, asked(world, "drill:another"))  # which says nothing of this one
    change(world, approved)
    with pytest.raises(ApprovalRefused, match=words):
        standing.insist_standing(approved)
    with pytest.raises(ApprovalRefused, match=words):
        carry(approved)


def test_only_what_stands_for_the_subject_now_is_in_force(world: GateWorld, approved: ApprovalRequest) -> None:
    assert standing.approval_in_force(KIND, SUBJECT) == approved
    assert standing.approval_in_force(KIND, "drill:production") is None
    assert standing.approval_in_force(ApprovalRequest.Kind.INVESTIGATION, SUBJECT) is None
    assert standing.newest_request(KIND, "drill:production") is None
    assert standing.newest_request(ApprovalRequest.Kind.INVESTIGATION, SUBJECT) is None
    next_ = asked(world, again=True)
    assert (standing.approval_in_force(KIND, SUBJECT), standing.newest_request(KIND, SUBJECT)) == (approved, next_)
    over(world, approved)
    assert standing.approval_in_force(KIND, SUBJECT) is None


@pytest.mark.parametrize(("days", "soon"), [(8, False), (6, True)])
def test_one_that_stands_for_less_than_a_week_is_soon_over(
    world: GateWorld, approved: ApprovalRequest, days: int, soon: bool
) -> None:
    with gate.past_the_triggers():
        until = Now() + timedelta(days=days)
        ApprovalRequest.objects.filter(pk=approved.pk).update(standing_until=until, use_by=until)
    another = allowed(world, asked(world, "drill:another"))
    assert (standing.soon_over(approved), standing.soon_over(another)) == (soon, False)


def test_the_newest_request_and_the_newest_approval_in_force_of_each_subject_are_told(world: GateWorld) -> None:
    first = allowed(world, asked(world))
    pending, other = asked(world), asked(world, "drill:other")
    found = standing.asked_and_in_force(KIND, SUBJECT, "drill:other", "drill:none")
    assert found == {SUBJECT: (pending, first), "drill:other": (other, None), "drill:none": (None, None)}
    assert standing.asked_and_in_force(ApprovalRequest.Kind.CLEARING, SUBJECT) == {SUBJECT: (None, None)}
    second = allowed(world, pending)
    approval_gate.reject(other, by=world.people.reviewer, shown=other.digest, reason="no longer needed")
    assert standing.asked_and_in_force(KIND, SUBJECT) == {SUBJECT: (second, second)}
    assert standing.asked_and_in_force(KIND, "drill:other") == {"drill:other": (other, None)}
    for request in (first, second):
        gate.tampered(request, standing_until=Now() - timedelta(seconds=1), use_by=Now() - timedelta(seconds=1))
    assert standing.asked_and_in_force(KIND, SUBJECT) == {SUBJECT: (second, None)}


def test_a_row_is_covered_by_a_request_of_its_own_that_is_pending_or_in_force(world: GateWorld) -> None:
    qa = world.qa.environment

    def covered(kind: ApprovalRequest.Kind = KIND, page: str = "drill") -> list[Environment]:
        return list(Environment.objects.filter(Exists(standing.covering(kind, page))))

    request = asked(world, f"drill:{qa.pk}")
    assert (covered(), covered(page="rule"), covered(ApprovalRequest.Kind.CLEARING)) == ([qa], [], [])
    assert covered() == [allowed(world, request).environment]
    over(world, request)
    assert covered() == []
    refused = asked(world, f"drill:{qa.pk}")
    approval_gate.reject(refused, by=world.people.reviewer, shown=refused.digest, reason="no longer needed")
    assert covered() == []


def test_only_a_request_of_this_kind_for_the_subject_was_approved(world: GateWorld, approved: ApprovalRequest) -> None:
    assert standing.was_approved(KIND, SUBJECT)
    assert not standing.was_approved(ApprovalRequest.Kind.CLEARING, SUBJECT)
    assert not standing.was_approved(KIND, "drill:other")
