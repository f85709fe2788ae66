"""Every condition of asking, deciding, withdrawing, using and going on with an approval, one by one."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from audit import log
from audit.models import Entry, Head
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, DatabaseRollback, Notification, Person, Role
from kvops.runs import emergency
from tests import make
from tests.gate import world as gate
from tests.gate.world import GateWorld, past_the_triggers, tampered

pytestmark = pytest.mark.django_db

DELETE = ApprovalRequest.Kind.DELETE_KEYS
EVIDENCE: dict[str, object] = {"names": {"count": 3}, "title": "本番"}
State = ApprovalRequest.State


def ask(
    world: GateWorld, by: Person | None = None, *, subject: str = "stage:1", title: str = "Delete"
) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            DELETE, subject=subject, title=title, evidence=EVIDENCE, requester=by or world.people.operator,
            environment=world.qa.environment,
        )  # fmt: skip


def claim(request: ApprovalRequest, by: Person, **other: object) -> ApprovalRequest:
    what: dict[str, object] = {"kind": DELETE, "subject": request.subject, "digest": request.digest, **other}
    with log.transaction():
        return approval_gate.claim(request, by=by, **what)  # type: ignore[arg-type]


def entries(request: ApprovalRequest) -> list[Entry]:
    return list(Entry.objects.filter(subject=f"approval:{request.pk}").order_by("seq"))


def hours_ago(request: ApprovalRequest, hours: float) -> None:
    moved = timedelta(hours=hours)
    names = ("created_at", "decide_by", "decided_at", "use_by", "used_at")
    tampered(request, **{name: F(name) - moved for name in names})


def revoke(person: Person, role: Role) -> None:
    make.revoke(person, role)


@pytest.fixture
def asked(world: GateWorld) -> ApprovalRequest:
    return ask(world)


@pytest.fixture
def approved(world: GateWorld, asked: ApprovalRequest) -> ApprovalRequest:
    approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest, reason="  seen as agreed  ")
    return asked


@pytest.fixture
def used(world: GateWorld, approved: ApprovalRequest) -> ApprovalRequest:
    return claim(approved, world.people.operator2)


# Asking


def test_a_request_is_written_as_asked(world: GateWorld, asked: ApprovalRequest) -> None:
    assert (asked.kind, asked.subject, asked.title, asked.state) == (DELETE, "stage:1", "Delete", State.PENDING)
    assert (asked.environment, asked.requester, asked.approver) == (world.qa.environment, world.people.operator, None)
    assert asked.evidence == '{"names":{"count":3},"title":"本番"}'
    assert asked.digest == digest_of(asked.evidence)
    assert asked.decide_by - asked.created_at == timedelta(seconds=timing.DECIDE_WITHIN)


def test_a_long_title_is_cut(world: GateWorld) -> None:
    assert ask(world, title="x" * 301).title == "x" * 300


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_asks(world: GateWorld, who: str) -> None:
    with pytest.raises(ApprovalRefused, match=r"^Only an operator can ask for an approval\.$"):
        ask(world, getattr(world.people, who))


@pytest.mark.parametrize(
    ("size", "fits"), [(approval_gate.MAX_EVIDENCE, True), (approval_gate.MAX_EVIDENCE + 1, False)]
)
def test_evidence_has_at_most_64_kib(world: GateWorld, size: int, fits: bool) -> None:
    evidence = {"x": "é" * ((size - 8) // 2) + "y" * (size % 2)}
    assert len(canonical_evidence(evidence).encode()) == size

    def attempt() -> None:
        with log.transaction():
            approval_gate.submit(DELETE, subject="s", title="x", evidence=evidence, requester=world.people.operator)

    if fits:
        attempt()
    else:
        with pytest.raises(
            ApprovalRefused, match=r"^The evidence is larger than 64 KiB; it must name its lists by digest\.$"
        ):
            attempt()


def test_time_moves_forward(world: GateWorld, asked: ApprovalRequest) -> None:
    tampered(asked, created_at=Now() + timedelta(seconds=30))
    with pytest.raises(
        ApprovalRefused, match=r"^The database clock is behind the newest request\. Have it checked first\.$"
    ):
        ask(world, subject="stage:2")


def test_one_request_waits_for_a_subject(world: GateWorld, asked: ApprovalRequest) -> None:
    with pytest.raises(ApprovalRefused, match=r"^A request for this is already waiting for a decision\.$"):
        ask(world, world.people.operator2)
    ask(world, subject="stage:2")


def test_another_kind_of_request_waits_beside_it(world: GateWorld, asked: ApprovalRequest) -> None:
    with log.transaction():
        approval_gate.submit(
            ApprovalRequest.Kind.RESTORE, subject="stage:1", title="x", evidence=EVIDENCE,
            requester=world.people.operator,
        )  # fmt: skip
    assert ApprovalRequest.objects.pending().count() == 2


def test_numbers_that_are_none_are_not_evidence() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_evidence({"a": float("nan")})


# Deciding


def test_an_approval_says_who_when_and_until_when(world: GateWorld, approved: ApprovalRequest) -> None:
    assert (approved.state, approved.approver, approved.reason) == (
        State.APPROVED,
        world.people.reviewer,
        "seen as agreed",
    )
    assert approved.decided_at is not None
    assert approved.use_by == approved.decided_at + timedelta(seconds=timing.USE_WITHIN)


def test_a_rejection_says_who_when_and_why_and_no_until(world: GateWorld, asked: ApprovalRequest) -> None:
    approval_gate.reject(asked, by=world.people.reviewer, shown=asked.digest, reason=" not like this ")
    assert (asked.state, asked.approver, asked.reason) == (State.REJECTED, world.people.reviewer, "not like this")
    assert asked.decided_at is not None
    assert asked.use_by is None
    assert (entries(asked)[-1].action, entries(asked)[-1].details["until"]) == ("approval.rejected", "")


def test_a_rejection_needs_words(world: GateWorld, asked: ApprovalRequest) -> None:
    with pytest.raises(ApprovalRefused, match=r"^Give the reason, so that the operator can correct the request\.$"):
        approval_gate.reject(asked, by=world.people.reviewer, shown=asked.digest, reason=" \n")


def decisions() -> list[Callable[[ApprovalRequest, Person, str], None]]:
    return [
        lambda request, by, shown: approval_gate.approve(request, by=by, shown=shown),
        lambda request, by, shown: approval_gate.reject(request, by=by, shown=shown, reason="not like this"),
    ]


@pytest.mark.parametrize("decide", decisions(), ids=["approve", "reject"])
@pytest.mark.hazard("4.2.4")
def test_every_refusal_to_decide(
    world: GateWorld, asked: ApprovalRequest, decide: Callable[[ApprovalRequest, Person, str], None]
) -> None:
    both = make.person("both", *Role)
    mine = ask(world, both, subject="stage:2")
    reviewer = r"^Only a reviewer can decide\.$"
    other = r"^The evidence on your page differs from the evidence of the request\. Load the page again\.$"
    cases = [
        (asked, world.people.operator2, asked.digest, reviewer),
        (asked, world.people.auditor, asked.digest, reviewer),
        (mine, both, mine.digest, r"^You asked for this yourself; another person must decide\.$"),
        (asked, world.people.reviewer, "0" * 64, other),
    ]
    for request, by, shown, why in cases:
        with pytest.raises(ApprovalRefused, match=why):
            decide(request, by, shown)
    assert not ApprovalRequest.objects.exclude(state="pending", approver=None, decided_at=None).exists()


@pytest.mark.parametrize("decide", decisions(), ids=["approve", "reject"])
@pytest.mark.parametrize("state", ["approved", "rejected", "withdrawn", "expired"])
def test_what_is_decided_is_not_decided_again(
    world: GateWorld, asked: ApprovalRequest, state: str, decide: Callable[[ApprovalRequest, Person, str], None]
) -> None:
    times = {"approver": world.people.reviewer, "decided_at": Now(), "use_by": Now()}
    tampered(asked, state=state, **(times if state in {"approved", "rejected"} else {}))
    with pytest.raises(
        ApprovalRefused, match=r"^The request no longer waits for a decision, or its deadline has passed\.$"
    ):
        decide(asked, make.person("reviewer2", Role.REVIEWER), asked.digest)


@pytest.mark.parametrize("decide", decisions(), ids=["approve", "reject"])
def test_nothing_is_decided_after_its_time(
    world: GateWorld, asked: ApprovalRequest, decide: Callable[[ApprovalRequest, Person, str], None]
) -> None:
    hours_ago(asked, timing.DECIDE_WITHIN / 3600 + 0.01)
    with pytest.raises(
        ApprovalRefused, match=r"^The request no longer waits for a decision, or its deadline has passed\.$"
    ):
        decide(asked, world.people.reviewer, asked.digest)


def test_up_to_its_last_moment_it_is_decided(world: GateWorld, asked: ApprovalRequest) -> None:
    hours_ago(asked, timing.DECIDE_WITHIN / 3600 - 0.01)
    approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest)


def test_another_digest_than_the_database_holds_is_not_decided(world: GateWorld, asked: ApprovalRequest) -> None:
    tampered(asked, evidence="{}", digest=digest_of("{}"))
    with pytest.raises(
        ApprovalRefused, match=r"^The request no longer waits for a decision, or its deadline has passed\.$"
    ):
        approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest)


def test_a_requester_who_was_replaced_meanwhile_does_not_decide(world: GateWorld, asked: ApprovalRequest) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    tampered(asked, requester=both)
    with pytest.raises(
        ApprovalRefused, match=r"^The request no longer waits for a decision, or its deadline has passed\.$"
    ):
        approval_gate.approve(asked, by=both, shown=asked.digest)


# Withdrawing and expiring


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_withdraws(world: GateWorld, asked: ApprovalRequest, who: str) -> None:
    with pytest.raises(ApprovalRefused, match=r"^Only an operator can withdraw a request\.$"):
        approval_gate.withdraw(asked, by=getattr(world.people, who))


@pytest.mark.parametrize(("reason", "kept"), [(" not now ", "not now"), (" ", "seen as agreed")])
def test_an_operator_withdraws_what_was_not_used(
    world: GateWorld, approved: ApprovalRequest, reason: str, kept: str
) -> None:
    approval_gate.withdraw(approved, by=world.people.operator2, reason=reason)
    assert (approved.state, approved.reason) == (State.WITHDRAWN, kept)
    assert entries(approved)[-1].action == "approval.withdrawn"


def test_what_was_used_is_not_withdrawn(world: GateWorld, used: ApprovalRequest) -> None:
    with pytest.raises(ApprovalRefused, match=r"^The request is over; there is nothing to withdraw\.$"):
        approval_gate.withdraw(used, by=world.people.operator)


@pytest.mark.hazard("4.2.14")
@pytest.mark.parametrize(("hours", "over"), [(71.99, 0), (72.01, 1)])
def test_what_nobody_decides_runs_out(asked: ApprovalRequest, hours: float, over: int) -> None:
    hours_ago(asked, hours)
    assert approval_gate.expire() == over
    asked.refresh_from_db()
    assert asked.state == (State.EXPIRED if over else State.PENDING)
    assert [entry.actor for entry in entries(asked)][1:] == ["system:sweep"] * over


@pytest.mark.hazard("4.2.14")
@pytest.mark.parametrize(("hours", "over"), [(23.99, 0), (24.01, 1)])
def test_what_nobody_uses_runs_out(approved: ApprovalRequest, hours: float, over: int) -> None:
    hours_ago(approved, hours)
    assert approval_gate.expire() == over


def test_each_that_runs_out_is_told_and_counted(world: GateWorld, asked: ApprovalRequest) -> None:
    other, young = ask(world, subject="stage:2"), ask(world, subject="stage:3")
    for one in (asked, other):
        hours_ago(one, 73)
    assert approval_gate.expire() == 2
    told = [entries(one)[-1].action for one in (asked, other, young)]
    assert told == ["approval.expired", "approval.expired", "approval.requested"]


@pytest.mark.hazard("4.2.6")
@pytest.mark.parametrize("act", ["expire", "withdraw_all"])
def test_what_somebody_decided_meanwhile_is_left_alone(
    world: GateWorld, asked: ApprovalRequest, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [asked, ask(world, subject="stage:2")]
    for one in both:
        hours_ago(one, 73)

    def decide_the_other(request: ApprovalRequest) -> None:
        other = next(one for one in both if one.pk != request.pk)
        tampered(other, state="rejected", approver=world.people.reviewer, decided_at=F("created_at"))

    monkeypatch.setattr(approval_gate, "_told", decide_the_other)
    if act == "expire":
        assert approval_gate.expire() == 1
    else:
        with log.transaction():
            approval_gate.withdraw_all(actor=make.SETUP, reason="restored by hand")
    found = ApprovalRequest.objects.order_by("state").values_list("state", flat=True)
    assert list(found) == (["expired", "rejected"] if act == "expire" else ["rejected", "withdrawn"])


def test_what_was_used_never_runs_out(used: ApprovalRequest) -> None:
    hours_ago(used, 1000)
    assert approval_gate.expire() == 0


# Using


def test_a_use_says_who_and_when(world: GateWorld, used: ApprovalRequest) -> None:
    assert (used.state, used.starter) == (State.USED, world.people.operator2)
    assert used.used_at is not None
    assert [entry.action for entry in entries(used)] == ["approval.requested", "approval.approved", "approval.used"]


def test_a_use_outside_a_recorded_transaction_is_refused(world: GateWorld, approved: ApprovalRequest) -> None:
    with pytest.raises(log.OutsideTransactionError):
        approval_gate.claim(approved, kind=DELETE, subject="stage:1", digest=approved.digest, by=world.people.operator)


def test_nobody_presses_the_emergency_stop_between_the_look_and_the_use(
    world: GateWorld, approved: ApprovalRequest
) -> None:
    with CaptureQueriesContext(connection) as asked:
        claim(approved, world.people.operator)
    queries = [query["sql"] for query in asked.captured_queries]
    (held,) = (
        at for at, sql in enumerate(queries) if 'FROM "kvops_environment"' in sql and sql.endswith("NO KEY UPDATE")
    )
    looked = next(at for at, sql in enumerate(queries) if 'FROM "kvops_emergencystop"' in sql)
    assert held < looked


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_uses(world: GateWorld, approved: ApprovalRequest, who: str) -> None:
    with pytest.raises(ApprovalRefused, match=r"^Only an operator can start this\.$"):
        claim(approved, getattr(world.people, who))


@pytest.mark.hazard("4.2.11")
@pytest.mark.parametrize("state", ["pending", "rejected", "withdrawn", "expired"])
def test_only_what_is_approved_is_used(world: GateWorld, asked: ApprovalRequest, state: str) -> None:
    decided = {"approver": world.people.reviewer, "decided_at": Now()} if state == "rejected" else {}
    tampered(asked, state=state, **decided)
    with pytest.raises(ApprovalRefused, match="The request is not approved"):
        claim(asked, world.people.operator)


@pytest.mark.hazard("4.2.14")
def test_an_approval_is_used_once(world: GateWorld, used: ApprovalRequest) -> None:
    with pytest.raises(ApprovalRefused, match=r"^The request is not approved: used\.$"):
        claim(used, world.people.operator)


@pytest.mark.parametrize(("who", "role"), [("operator", Role.OPERATOR), ("reviewer", Role.REVIEWER)])
@pytest.mark.parametrize("how", ["role", "login"])
@pytest.mark.hazard("4.2.13")
def test_a_right_that_went_before_the_use(
    world: GateWorld, approved: ApprovalRequest, who: str, role: Role, how: str
) -> None:
    person, did = getattr(world.people, who), {"operator": "asked for", "reviewer": "approved"}[who]
    revoke(person, role) if how == "role" else make.deactivate(person)
    with pytest.raises(ApprovalRefused, match=rf"^{person.name} {did} this and is no longer an? {role}\. Ask again\.$"):
        claim(approved, world.people.operator2)


def test_whoever_approved_does_not_use(world: GateWorld) -> None:
    both = make.person("both", Role.OPERATOR, Role.REVIEWER)
    request = ask(world)
    approval_gate.approve(request, by=both, shown=request.digest)
    with pytest.raises(ApprovalRefused, match=r"^You approved this; another person must start it\.$"):
        claim(request, both)
    assert claim(request, world.people.operator).starter == world.people.operator


@pytest.mark.parametrize("other", [{"kind": ApprovalRequest.Kind.POLICY}, {"subject": "stage:2"}, {"digest": "0" * 64}])
@pytest.mark.hazard("4.2.1")
def test_an_approval_is_used_for_what_it_is_of(
    world: GateWorld, approved: ApprovalRequest, other: dict[str, object]
) -> None:
    with pytest.raises(ApprovalRefused, match=r"^The action differs from the approved one\. Ask again\.$"):
        claim(approved, world.people.operator, **other)


@pytest.mark.hazard("4.2.14")
def test_an_approval_is_used_in_time(world: GateWorld, approved: ApprovalRequest) -> None:
    hours_ago(approved, timing.USE_WITHIN / 3600 + 0.01)
    with pytest.raises(ApprovalRefused, match=r"^The approval was used, withdrawn or has expired\.$"):
        claim(approved, world.people.operator)


def test_up_to_its_last_moment_it_is_used(world: GateWorld, approved: ApprovalRequest) -> None:
    hours_ago(approved, timing.USE_WITHIN / 3600 - 0.01)
    assert claim(approved, world.people.operator).state == State.USED


def test_an_emergency_stop_refuses_the_use(world: GateWorld, approved: ApprovalRequest) -> None:
    emergency.press(world.qa.environment, by=world.people.auditor)
    with pytest.raises(ApprovalRefused, match="is stopped"):
        claim(approved, world.people.operator)


@pytest.mark.hazard("4.2.6", "4.2.7")
@pytest.mark.parametrize("what", ["state", "digest", "use_by", "approver"])
def test_what_changes_after_the_last_look_is_not_used(
    world: GateWorld, approved: ApprovalRequest, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move itself insists once more; somebody else may have been quicker."""
    digest = digest_of("{}")
    values: dict[str, dict[str, object]] = {
        "state": {"state": "withdrawn"},
        "digest": {"evidence": "{}", "digest": digest},
        "use_by": {"use_by": F("use_by") - timedelta(hours=25), "decided_at": F("decided_at") - timedelta(hours=26)},
        "approver": {"approver": world.people.operator2},
    }
    monkeypatch.setattr(approval_gate, "insist_recorded", lambda request: tampered(request, **values[what]))
    with pytest.raises(ApprovalRefused, match=r"^The approval was used, withdrawn or has expired\.$"):
        claim(approved, world.people.operator2)


def test_no_other_request_is_moved_with_it(world: GateWorld, approved: ApprovalRequest) -> None:
    other = ask(world, subject="stage:2")
    approval_gate.approve(other, by=world.people.reviewer, shown=other.digest)
    third = ask(world, subject="stage:3")
    approval_gate.still_valid(claim(approved, world.people.operator))
    approval_gate.withdraw(other, by=world.people.operator)
    found = ApprovalRequest.objects.order_by("pk").values_list("state", flat=True)
    assert list(found) == ["used", "withdrawn", "pending"]
    approval_gate.reject(third, by=world.people.reviewer, shown=third.digest, reason="not like this")
    assert list(found.all()) == ["used", "withdrawn", "rejected"]


def test_a_move_is_told_with_everything_that_it_is_about(world: GateWorld, used: ApprovalRequest) -> None:
    persons = (world.people.operator, world.people.reviewer, world.people.operator2)
    told = entries(used)
    assert [(entry.actor_id, entry.actor) for entry in told] == [(one.pk, str(one)) for one in persons]
    assert {(entry.environment, entry.subject_label, entry.digest) for entry in told} == {("qa", "Delete", used.digest)}
    assert used.use_by is not None
    untils = [used.decide_by.isoformat(), used.use_by.isoformat(), used.use_by.isoformat()]
    of = {"kind": "delete_keys", "of": "stage:1", "accepted": []}
    reasons = ["", "seen as agreed", "seen as agreed"]
    assert [entry.details for entry in told] == [
        {**of, "until": until, "reason": reason} for until, reason in zip(untils, reasons, strict=True)
    ]


# Withdrawing all


def test_a_restored_database_takes_every_open_request_back(world: GateWorld, approved: ApprovalRequest) -> None:
    pending, rejected = ask(world, subject="stage:2"), ask(world, subject="stage:3")
    another = ask(world, subject="stage:4")
    approval_gate.reject(rejected, by=world.people.reviewer, shown=rejected.digest, reason="not like this")
    with log.transaction():
        approval_gate.withdraw_all(actor=make.SETUP, reason="restored by hand")
    for one in (approved, pending, rejected):
        one.refresh_from_db()
    assert [one.state for one in (approved, pending, rejected)] == ["withdrawn", "withdrawn", "rejected"]
    assert (approved.reason, pending.reason, rejected.reason) == (
        "restored by hand",
        "restored by hand",
        "not like this",
    )
    for one in (approved, pending, another):
        last = entries(one)[-1]
        assert (last.action, last.actor, last.digest) == ("approval.withdrawn", make.SETUP.text, one.digest)
    assert entries(rejected)[-1].action == "approval.rejected"


def test_taking_all_back_belongs_to_a_recorded_transaction(world: GateWorld) -> None:
    with pytest.raises(log.OutsideTransactionError):
        approval_gate.withdraw_all(actor=make.SETUP, reason="restored by hand")


def test_a_stage_hears_of_every_move_of_its_request(world: GateWorld) -> None:
    """Approved, it moves on; withdrawn, or run out, it goes back to its names."""
    request = gate.asked(world)
    stage = gate.approved(world, request)
    assert gate.stage_of(request).state == "approved"
    with log.transaction():
        approval_gate.withdraw_all(actor=make.SETUP, reason="restored by hand")
    assert gate.stage_of(request).state == "frozen"
    gate.submitted(world, request)
    hours_ago(gate.approval_of(stage), 73)
    assert approval_gate.expire() == 1
    assert gate.stage_of(request).state == "frozen"


@pytest.fixture
def rolled_back(world: GateWorld) -> None:
    DatabaseRollback.objects.create(
        environment=world.qa.environment, manifest_key="k", modified_at=Now(), sequence=9, hash="1" * 64,
        our_sequence=1, our_hash="",
    )  # fmt: skip


def test_a_database_that_contradicts_its_backups_decides_nothing(
    request: pytest.FixtureRequest, world: GateWorld, used: ApprovalRequest
) -> None:
    approved = ask(world, subject="stage:2")
    approval_gate.approve(approved, by=world.people.reviewer, shown=approved.digest)
    pending = ask(world, subject="stage:3")
    request.getfixturevalue("rolled_back")
    acts: list[Callable[[], object]] = [
        lambda: ask(world, subject="stage:4"),
        lambda: approval_gate.approve(pending, by=world.people.reviewer, shown=pending.digest),
        lambda: approval_gate.reject(pending, by=world.people.reviewer, shown=pending.digest, reason="not like this"),
        lambda: claim(approved, world.people.operator),
        lambda: approval_gate.still_valid(used),
    ]
    for act in acts:
        with pytest.raises(ApprovalRefused, match="Read-only: the bucket of Qa"):
            act()


def test_a_database_whose_clock_went_back_decides_nothing(world: GateWorld, asked: ApprovalRequest) -> None:
    with past_the_triggers():
        Head.objects.update(at=Now() + timedelta(hours=1))
        Entry.objects.update(at=Now() + timedelta(hours=1))
    why = r"^The database's clock is behind the newest entry of the audit log\. Set it right first\.$"
    with pytest.raises(ApprovalRefused, match=why):
        approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest)


# Risks


@pytest.fixture
def risky(world: GateWorld) -> ApprovalRequest:
    with log.transaction():
        return approval_gate.submit(
            DELETE, subject="stage:7", title="x", evidence={"risks": ["a", "b"]}, requester=world.people.operator
        )


@pytest.mark.parametrize("accepted", [[], ["a"], ["b"], ["a", "b", "c"], ["ab"]])
def test_whoever_approves_accepts_each_risk_and_no_other(
    world: GateWorld, risky: ApprovalRequest, accepted: list[str]
) -> None:
    why = r"^The request names risks\. Accept each of them by its name, or reject the request\.$"
    with pytest.raises(ApprovalRefused, match=why):
        approval_gate.approve(risky, by=world.people.reviewer, shown=risky.digest, accepted=accepted)
    risky.refresh_from_db()
    assert (risky.state, risky.accepted) == (State.PENDING, [])


def test_what_was_accepted_is_kept_and_recorded(world: GateWorld, risky: ApprovalRequest) -> None:
    approval_gate.approve(risky, by=world.people.reviewer, shown=risky.digest, accepted=["b", "a"])
    told = Entry.objects.get(subject=f"approval:{risky.pk}", action="approval.approved")
    assert risky.accepted == told.details["accepted"] == ["a", "b"]
    approval_gate.still_valid(claim(risky, world.people.operator))


def test_a_request_with_risks_is_rejected_like_any_other(world: GateWorld, risky: ApprovalRequest) -> None:
    approval_gate.reject(risky, by=world.people.reviewer, shown=risky.digest, reason="not like this")
    assert (risky.state, risky.accepted) == (State.REJECTED, [])


def test_what_the_record_does_not_say_was_accepted_carries_nothing(world: GateWorld, risky: ApprovalRequest) -> None:
    approval_gate.approve(risky, by=world.people.reviewer, shown=risky.digest, accepted=["a", "b"])
    tampered(risky, accepted=["a"])
    with pytest.raises(ApprovalRefused, match=NOT_RECORDED):
        claim(risky, world.people.operator)


def test_a_decision_of_an_earlier_version_still_carries(world: GateWorld, approved: ApprovalRequest) -> None:
    with past_the_triggers():
        for entry in Entry.objects.filter(subject=f"approval:{approved.pk}"):
            details = {name: value for name, value in entry.details.items() if name != "accepted"}
            Entry.objects.filter(pk=entry.pk).update(details=details)
    assert claim(approved, world.people.operator).state == State.USED


# Going on


@pytest.mark.parametrize(
    ("who", "role"), [("operator", "operator"), ("operator2", "operator"), ("reviewer", "reviewer")]
)
@pytest.mark.parametrize("how", ["role", "login"])
@pytest.mark.hazard("4.2.13", "B24")
def test_a_right_that_went_after_the_use(
    world: GateWorld, used: ApprovalRequest, who: str, role: str, how: str
) -> None:
    approval_gate.still_valid(used)
    person = getattr(world.people, who)
    revoke(person, Role(role)) if how == "role" else make.deactivate(person)
    with pytest.raises(ApprovalRefused, match=rf"^{person.name} (approved this and )?is no longer an? {role}\.$"):
        approval_gate.still_valid(used)


def test_what_is_claimed_is_read_with_its_people_and_its_environment(
    world: GateWorld, approved: ApprovalRequest, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(20):
        claim(approved, world.people.operator)


def test_what_is_in_use_is_read_with_its_people_and_its_environment(
    used: ApprovalRequest, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(13):
        approval_gate.still_valid(used)


@pytest.mark.parametrize("state", ["asked", "approved"])
def test_what_is_not_used_carries_no_work(request: pytest.FixtureRequest, state: str) -> None:
    with pytest.raises(ApprovalRefused, match=r"^The approval behind this run is not in use\.$"):
        approval_gate.still_valid(request.getfixturevalue(state))


# The record


OTHERS: dict[str, object] = {
    "kind": "policy",
    "subject": "stage:2",
    "title": "Another",
    "environment": None,
    "evidence": "{}",
    "digest": "0" * 64,
    "reason": "another as agreed",
    "decide_by": F("decide_by") + timedelta(seconds=1),
    "use_by": F("use_by") + timedelta(seconds=1),
}
NOT_RECORDED = r"^The request differs from its entry in the audit log\. Have the database checked\.$"


def change(request: ApprovalRequest, name: str, value: object) -> None:
    """The digest fits the evidence, as the database insists."""
    values: dict[str, object] = {name: value}
    if name in {"evidence", "digest"}:
        values = {"evidence": "{}", "digest": digest_of("{}")}
    tampered(request, **values)
    request.refresh_from_db()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("state", ["approved", "used"])
@pytest.mark.hazard("4.2.1")
def test_whatever_of_a_row_differs_from_the_record_it_carries_nothing(
    request: pytest.FixtureRequest, world: GateWorld, state: str, name: str
) -> None:
    found = request.getfixturevalue(state)
    change(found, name, OTHERS[name])
    with pytest.raises(ApprovalRefused, match=NOT_RECORDED):
        approval_gate.still_valid(found) if state == "used" else claim(found, world.people.operator2, kind=found.kind)


@pytest.mark.parametrize("name", ["requester", "approver", "starter"])
@pytest.mark.parametrize("state", ["approved", "used"])
def test_nobody_is_put_in_anothers_place(
    request: pytest.FixtureRequest, world: GateWorld, state: str, name: str
) -> None:
    if (state, name) == ("approved", "starter"):
        return
    found = request.getfixturevalue(state)
    tampered(found, **{name: make.person("other", Role.OPERATOR, Role.REVIEWER)})
    with pytest.raises(ApprovalRefused, match=NOT_RECORDED):
        approval_gate.still_valid(found) if state == "used" else claim(found, world.people.operator2)


@pytest.mark.parametrize("action", ["approval.requested", "approval.approved", "approval.used"])
@pytest.mark.parametrize("how", ["missing", "twice"])
def test_each_move_is_told_once(used: ApprovalRequest, action: str, how: str) -> None:
    entry = Entry.objects.get(subject=f"approval:{used.pk}", action=action)
    with past_the_triggers():
        Entry.objects.filter(pk=entry.pk).update(action="x") if how == "missing" else None
        entry.seq += 1000
        entry.save(force_insert=True) if how == "twice" else None
    with pytest.raises(ApprovalRefused, match=NOT_RECORDED):
        approval_gate.still_valid(used)


def test_a_decision_written_by_sql_alone_carries_nothing(world: GateWorld, asked: ApprovalRequest) -> None:
    """Every trigger and constraint is content with this."""
    ApprovalRequest.objects.filter(pk=asked.pk).update(
        state="approved", approver=world.people.reviewer, decided_at=Now(), use_by=Now() + timedelta(hours=1)
    )
    with pytest.raises(ApprovalRefused, match=NOT_RECORDED):
        claim(asked, world.people.operator)


def test_less_time_than_the_record_gives_is_no_harm(world: GateWorld, approved: ApprovalRequest) -> None:
    tampered(approved, decide_by=F("decide_by") - timedelta(hours=1), use_by=F("use_by") - timedelta(hours=1))
    assert claim(approved, world.people.operator).state == State.USED


def test_a_long_reason_is_recorded_by_its_beginning(world: GateWorld, asked: ApprovalRequest) -> None:
    approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest, reason="no longer needed" * 900)
    assert claim(asked, world.people.operator).state == State.USED


def test_what_has_no_environment_is_recorded_without_one(world: GateWorld) -> None:
    with log.transaction():
        request = approval_gate.submit(
            DELETE, subject="stage:9", title="x", evidence=EVIDENCE, requester=world.people.operator
        )
    approval_gate.approve(request, by=world.people.reviewer, shown=request.digest)
    used = claim(request, world.people.operator)
    approval_gate.still_valid(used)
    assert [(entry.environment, entry.digest, entry.subject_label) for entry in entries(used)] == [
        ("", used.digest, "x")
    ] * 3
    assert entries(used)[0].details["until"] == used.decide_by.isoformat()


# Who is told


def told(world: GateWorld) -> list[str]:
    """What the requester was told of decisions, by mail."""
    of = Notification.objects.filter(event="approval.decided", person=world.people.operator)
    return list(of.order_by("pk").values_list("title", flat=True))


def test_whoever_asked_is_told_who_decided(world: GateWorld, approved: ApprovalRequest) -> None:
    rejected = ask(world, subject="stage:2")
    approval_gate.reject(rejected, by=world.people.reviewer, shown=rejected.digest, reason="not like this")
    approval_gate.withdraw(approved, by=world.people.operator2)
    names = [title.partition(":")[0] for title in told(world)]
    assert names == ["Approved by Reviewer", "Rejected by Reviewer", f"Withdrawn by {world.people.operator2.name}"]


def test_nobody_is_told_what_they_did_themselves(world: GateWorld, asked: ApprovalRequest) -> None:
    approval_gate.withdraw(asked, by=world.people.operator)
    assert told(world) == []
