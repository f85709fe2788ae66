"""The gate: who may ask, decide, withdraw and use, and everything it refuses."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from audit import log
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Environment, Person, Role, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.audit.make import sql, triggers_off

pytestmark = pytest.mark.django_db

DELETE = ApprovalRequest.Kind.DELETE_KEYS
EVIDENCE: dict[str, object] = {"names": {"count": 3}, "namespace_title": "本番 settings"}
State = ApprovalRequest.State


def ask(by: Person, *, subject: str = "stage:1", **more: object) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            DELETE, subject=subject, title="Delete 3 keys", evidence=EVIDENCE | more, requester=by
        )


def approve(request: ApprovalRequest, by: Person) -> None:
    approval_gate.approve(request, by=by, shown=request.digest)


def reject(request: ApprovalRequest, by: Person) -> None:
    approval_gate.reject(request, by=by, shown=request.digest, reason="The caches still read them.")


def claim_within(request: ApprovalRequest, by: Person, digest: str | None = None) -> ApprovalRequest:
    return approval_gate.claim(request, kind=DELETE, subject=request.subject, digest=digest or request.digest, by=by)


def claim(request: ApprovalRequest, by: Person, digest: str | None = None) -> ApprovalRequest:
    with log.transaction():
        return claim_within(request, by, digest)


def state(request: ApprovalRequest) -> str:
    request.refresh_from_db()
    return request.state


def later(request: ApprovalRequest, hours: float) -> None:
    """As if everything about the request had happened so many hours earlier, or later when negative."""
    moved = timedelta(hours=hours)
    fields = ("created_at", "decide_by", "decided_at", "use_by", "used_at")
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks still to come cannot be altered
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.filter(pk=request.pk).update(**{name: F(name) - moved for name in fields})


@pytest.fixture
def request_(people: make.People) -> ApprovalRequest:
    return ask(people.operator)


@pytest.fixture
def approved(request_: ApprovalRequest, people: make.People) -> ApprovalRequest:
    approve(request_, people.reviewer)
    request_.refresh_from_db()
    return request_


# Deciding


def test_two_logins_of_one_person_are_one_person(people: make.People) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    second = type(both.logins.get()).objects.create(email="other@example.com", person=both)
    request = ask(both)
    with pytest.raises(ApprovalRefused, match="yourself"):
        approve(request, second.person)


def test_the_database_refuses_the_requester_as_approver(request_: ApprovalRequest, people: make.People) -> None:
    with pytest.raises(IntegrityError, match="approval_by_another_person"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=request_.pk).update(
            state=State.APPROVED, approver=people.operator, decided_at=Now(), use_by=Now()
        )


@pytest.mark.parametrize(
    "change",
    [
        {"evidence": "{}"},
        {"digest": "0" * 64},
        {"title": "another"},
        {"subject": "stage:2"},
        {"kind": "policy"},
        {"decide_by": Now() + timedelta(days=365)},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("when", ["request_", "approved"])
def test_nothing_a_reviewer_was_shown_can_be_edited(
    request: pytest.FixtureRequest, change: dict[str, object], when: str
) -> None:
    pk = request.getfixturevalue(when).pk
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=pk).update(**change)


def test_the_requester_cannot_be_replaced(request_: ApprovalRequest, people: make.People) -> None:
    with pytest.raises(IntegrityError, match="cannot be edited"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=request_.pk).update(requester=people.operator2)


# Using


def test_the_database_refuses_the_approver_as_starter(approved: ApprovalRequest, people: make.People) -> None:
    with pytest.raises(IntegrityError, match="approval_not_started_by_approver"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=approved.pk).update(state=State.USED, starter=people.reviewer, used_at=Now())


# Acting


def delete_run(used: ApprovalRequest, by: Person, **more: object) -> Run:
    values: dict[str, object] = {
        "subject": used.subject,
        "approval": used,
        "approval_digest": used.digest,
        "environment": used.environment,
        "started_by": by,
    }
    return Run.objects.create(kind="delete", label="x", actor="x", **values | more)


@pytest.fixture
def of_qa(people: make.People) -> ApprovalRequest:
    """An approved deletion in an environment."""
    qa = Environment.objects.create(
        slug="qa", name="QA", order=1, account_id="a", read_token="env:A", write_token="env:B",
        r2_endpoint="http://127.0.0.1", r2_bucket="b", r2_access_key_id="env:C", r2_secret_access_key="env:D",
    )  # fmt: skip
    with log.transaction():
        request = approval_gate.submit(
            DELETE, subject="stage:1", title="x", evidence=EVIDENCE, requester=people.operator, environment=qa
        )
    approve(request, people.reviewer)
    return request


@pytest.mark.hazard("4.2.7")
def test_no_run_exists_before_the_claim(of_qa: ApprovalRequest, people: make.People) -> None:
    with pytest.raises(IntegrityError, match="claimed"), transaction.atomic():
        delete_run(of_qa, people.operator)


@pytest.mark.hazard("4.2.7")
def test_a_claim_whose_run_fails_was_no_claim(of_qa: ApprovalRequest, people: make.People) -> None:
    def claim_and_crash() -> None:
        with log.transaction():
            claim_within(of_qa, people.operator)
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        claim_and_crash()
    assert (state(of_qa), Run.objects.count()) == (State.APPROVED, 0)


def test_one_approval_carries_one_run(of_qa: ApprovalRequest, people: make.People) -> None:
    claim(of_qa, people.operator)
    delete_run(of_qa, people.operator)
    with pytest.raises(IntegrityError), transaction.atomic():
        delete_run(of_qa, people.operator, state="succeeded", finished_at=Now())


@pytest.mark.parametrize(
    "more", [{"approval_digest": "0" * 64}, {"approval": None}, {"approval_digest": ""}, {"subject": "stage:2"}]
)
def test_a_run_without_its_own_approval_is_refused(
    of_qa: ApprovalRequest, people: make.People, more: dict[str, object]
) -> None:
    claim(of_qa, people.operator)
    with pytest.raises(IntegrityError), transaction.atomic():
        delete_run(of_qa, people.operator, **more)


def test_a_run_is_started_by_whoever_claimed(of_qa: ApprovalRequest, people: make.People) -> None:
    claim(of_qa, people.operator)
    with pytest.raises(IntegrityError, match="claimed by the person"), transaction.atomic():
        delete_run(of_qa, people.operator2)


@pytest.mark.hazard("4.2.5")
def test_a_deletion_cannot_be_created_around_the_gate(people: make.People) -> None:
    with pytest.raises(IntegrityError, match="run_destructive_is_approved"), log.transaction():
        run_driver.create(
            Run.Kind.DELETE, subject="stage:1", label="x", actor=log.Actor(None, "cli:root"), person=people.operator
        )


# States


MOVES = {
    ("pending", "approved"), ("pending", "rejected"), ("pending", "withdrawn"), ("pending", "expired"),
    ("approved", "used"), ("approved", "expired"), ("approved", "withdrawn"),
}  # fmt: skip


def put_into(request: ApprovalRequest, to: str, people: make.People) -> int:
    values: dict[str, object] = {"state": to}
    if to in {"approved", "rejected"}:
        values |= {"approver": people.reviewer, "decided_at": Now()}
    if to == "approved":
        values["use_by"] = Now() + timedelta(hours=1)
    if to == "used":
        values |= {"starter": people.operator, "used_at": Now()}
    return ApprovalRequest.objects.filter(pk=request.pk).update(**values)


@pytest.mark.parametrize("to", State.values)
@pytest.mark.parametrize("path", [[], ["approved"], ["rejected"], ["withdrawn"], ["expired"], ["approved", "used"]])
def test_a_request_moves_only_as_drawn(
    request_: ApprovalRequest, people: make.People, path: list[str], to: str
) -> None:
    for step in path:
        put_into(request_, step, people)
    here = ["pending", *path][-1]
    if (here, to) in MOVES:
        assert put_into(request_, to, people) == 1
    elif here != to:
        with pytest.raises(IntegrityError), transaction.atomic():
            put_into(request_, to, people)


# Races


def both_at_once(first: Callable[[], object], second: Callable[[], object]) -> list[bool]:
    """Whether each succeeded when they start together."""
    start = Barrier(2)

    def attempt(act: Callable[[], object]) -> bool:
        try:
            start.wait(10)
            act()
        except ApprovalRefused:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(attempt, [first, second]))


@pytest.mark.django_db(transaction=True)
@pytest.mark.hazard("4.2.6", "B26")
def test_of_two_decisions_at_once_one_wins(people: make.People) -> None:
    other = make.person("reviewer2", Role.REVIEWER)
    for number in range(15):
        request = ask(people.operator, subject=f"stage:{number}")
        won = both_at_once(partial(approve, request, people.reviewer), partial(reject, request, other))
        assert sum(won) == 1
        assert state(request) == (State.APPROVED if won[0] else State.REJECTED)


@pytest.mark.django_db(transaction=True)
@pytest.mark.hazard("4.2.7", "B26")
def test_of_two_starts_at_once_one_wins(people: make.People) -> None:
    for number in range(15):
        request = ask(people.operator, subject=f"stage:{number}")
        approve(request, people.reviewer)
        won = both_at_once(partial(claim, request, people.operator), partial(claim, request, people.operator2))
        assert sum(won) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.hazard("B26")
def test_a_start_and_a_withdrawal_at_once_do_not_both_happen(people: make.People) -> None:
    for number in range(15):
        request = ask(people.operator, subject=f"stage:{number}")
        approve(request, people.reviewer)
        withdraw = partial(approval_gate.withdraw, request, by=people.operator2)
        assert sum(both_at_once(partial(claim, request, people.operator), withdraw)) == 1


def revoke(person: Person, role: Role) -> None:
    make.revoke(person, role)
