"""The gate without a row: the people who may ask, decide, use and withdraw, and each row that is written."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from kvops import clock, rollback, timing
from kvops.approvals import announcements, gate, standing
from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Environment, Person
from kvops.operations import registry
from kvops.operations.parts import NAMESPACE, RequestKind
from kvops.refusals import Sentence
from kvops.runs import emergency
from kvops.wording import say

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
KIND = ApprovalRequest.Kind.DELETE_KEYS
EVIDENCE = {"names": 2}
TEXT = canonical_evidence(EVIDENCE)
ID = '"kvops_approvalrequest"."id" = 3'


def person(number: int, name: str, *roles: str) -> Any:
    """A person with these roles."""
    found = Person(pk=number, name=name)
    found.holds = lambda role: role in roles  # type: ignore[method-assign]
    return found


@pytest.fixture
def people() -> SimpleNamespace:
    return SimpleNamespace(olga=person(9, "Olga", "operator"), rie=person(8, "Rie", "reviewer"))


@pytest.fixture
def request_(people: SimpleNamespace) -> ApprovalRequest:
    """An approved request, as the database has it."""
    return ApprovalRequest(
        pk=3, kind=KIND, subject="stage:5", title="Delete", environment=Environment(pk=1, slug="qa"), evidence=TEXT,
        digest=digest_of(TEXT), requester=people.olga, approver=people.rie, state="approved", decide_by=NOW,
        use_by=NOW + timedelta(hours=1), reason="fine", accepted=["big"], created_at=NOW - timedelta(days=1),
    )  # fmt: skip


class Database:
    """Notes each query from its WHERE on, with what it wrote; finds the request, and `answers` before it."""

    def __init__(self, request: ApprovalRequest) -> None:
        self.request, self.done, self.answers, self.changed = request, list[Any](), list[Any](), 1

    def where(self, query: Any) -> str:
        return str(query.query).split(" WHERE ", 1)[-1]

    def get(self, query: Any, **of: object) -> Any:
        self.done.append(("get", self.where(query.filter(**of))))
        return self.request

    def update(self, query: Any, **values: object) -> int:
        self.done.append(("update", self.where(query), values))
        return self.changed

    def exists(self, query: Any) -> bool:
        self.done.append(("exists", self.where(query)))
        return bool(self.answers.pop(0)) if self.answers else False

    def first(self, query: Any) -> Any:
        self.done.append(("first", self.where(query)))
        return self.request

    def rows(self, query: Any) -> Iterator[Any]:
        self.done.append(("rows", self.where(query)))
        return iter(self.answers)

    def create(self, _query: Any, **values: object) -> Any:
        self.done.append(("create", values))
        return self.request


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch, request_: ApprovalRequest) -> Database:
    found = Database(request_)

    def noting(name: str) -> Callable[..., Any]:
        def act(query: Any, *what: object, **how: object) -> Any:
            return getattr(found, name)(query, *what, **how)

        return act

    for name in ("get", "update", "exists", "first", "create"):
        monkeypatch.setattr(QuerySet, name, noting(name))
    monkeypatch.setattr(QuerySet, "__iter__", noting("rows"))
    monkeypatch.setattr(QuerySet, "__len__", lambda _query: len(found.answers))
    monkeypatch.setattr(ApprovalRequest, "refresh_from_db", lambda one: found.done.append(("again", one.pk)))
    return found


@pytest.fixture(autouse=True)
def around(monkeypatch: pytest.MonkeyPatch, database: Database) -> SimpleNamespace:
    """Everything outside the gate: it notes its calls, and nothing refuses."""
    of = SimpleNamespace(read_only="", back=False, stopped="", open=False)

    class Transaction:
        def __enter__(self) -> None:
            of.open = True

        def __exit__(self, *_: object) -> None:
            of.open = False

    def noted(name: str) -> Callable[..., Any]:
        return lambda *what, **how: database.done.append((name, what, how))

    monkeypatch.setattr(log, "transaction", Transaction)
    monkeypatch.setattr(log, "insist", lambda: database.done.append("insist"))
    monkeypatch.setattr(log, "record", lambda action, **how: database.done.append(("record", action, how)))
    monkeypatch.setattr(rollback, "why_read_only", lambda: of.read_only)
    monkeypatch.setattr(clock, "went_back", lambda: of.back)
    monkeypatch.setattr(emergency, "why_stopped", lambda environment: of.stopped if environment.pk == 1 else "other")
    monkeypatch.setattr(emergency, "lock", lambda environment: database.done.append(("lock", environment.pk)))
    monkeypatch.setattr(announcements, "asked", noted("asked"))
    monkeypatch.setattr(announcements, "announce_decision", noted("announced"))
    monkeypatch.setitem(registry.REQUESTS, KIND, RequestKind(lambda *_: "", NAMESPACE, decided=decided))
    return of


DECIDED: list[object] = []


def decided(request: ApprovalRequest) -> None:
    """The feature that hears the decision."""
    DECIDED.append(request)


def refused(act: Callable[..., object], *what: Any, **how: Any) -> str:
    with pytest.raises(ApprovalRefused) as error:
        act(*what, **how)
    return str(error.value)


def record(action: Action, request: ApprovalRequest, actor: object, until: datetime | None = None) -> tuple[Any, ...]:
    """The entry that each move leaves."""
    details = {
        "kind": request.kind, "reason": request.reason[:500], "of": "stage:5", "accepted": request.accepted,
        "until": until.isoformat() if until else "",
    }  # fmt: skip
    return (
        "record", action,
        {"actor": actor, "environment": "qa", "subject": "approval:3", "subject_label": "Delete",
         "digest": request.digest, "details": details},
    )  # fmt: skip


# Using an approval


def claim(request: ApprovalRequest, by: Any, **other: Any) -> ApprovalRequest:
    what: Any = {"kind": KIND, "subject": "stage:5", "digest": request.digest, **other}
    return gate.claim(request, by=by, **what)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The requests that were compared with the audit log."""
    found: list[object] = []
    monkeypatch.setattr(gate, "insist_recorded", found.append)
    return found


def test_an_approval_is_used_once_under_the_lock_of_the_environment(
    request_: ApprovalRequest, people: SimpleNamespace, database: Database, recorded: list[object]
) -> None:
    assert claim(request_, people.olga) is request_
    used = (
        f'("kvops_approvalrequest"."digest" = {request_.digest} AND {ID} AND "kvops_approvalrequest"."state" = '
        'approved AND "kvops_approvalrequest"."use_by" >= (STATEMENT_TIMESTAMP()) AND NOT ('
        '"kvops_approvalrequest"."approver_id" = 9 AND "kvops_approvalrequest"."approver_id" IS NOT NULL))'
    )
    assert database.done == [
        "insist", ("get", ID), ("lock", 1),
        ("update", used, {"state": "used", "starter": people.olga, "used_at": Now()}), ("again", 3),
        record(Action.APPROVAL_USED, request_, people.olga.actor, request_.use_by),
    ]  # fmt: skip
    assert recorded == [request_]
    database.changed = 0
    assert refused(claim, request_, people.olga) == "The approval was used, withdrawn or has expired."


def test_an_approval_without_an_environment_locks_none(
    request_: ApprovalRequest, people: SimpleNamespace, database: Database, recorded: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    request_.environment = None
    monkeypatch.setattr(emergency, "why_stopped", lambda environment: environment)
    claim(request_, people.olga)
    assert ("lock", 1) not in database.done
    assert database.done[-1][2]["environment"] == ""
    assert recorded == [request_]


DIFFERS = "The action differs from the approved one. Ask again."


@pytest.mark.usefixtures("recorded")
def test_each_reason_not_to_use_an_approval_has_its_sentence(
    request_: ApprovalRequest, people: SimpleNamespace, around: SimpleNamespace
) -> None:
    for other in ({"kind": "policy"}, {"subject": "stage:6"}, {"digest": "e" * 64}):
        if other == {"kind": "policy"}:
            assert refused(claim, request_, people.olga, **other) == DIFFERS
        assert refused(claim, request_, people.olga, **other) == DIFFERS
    both = person(8, "Rie", "operator", "reviewer")
    assert refused(claim, request_, both) == "You approved this; another person must start it."
    request_.approver = person(8, "Rie")
    gone = "Rie approved this and is no longer a reviewer. Ask again."
    assert refused(claim, request_, people.olga) == gone
    request_.requester = person(7, "Tom")
    gone = "Tom asked for this and is no longer an operator. Ask again."
    assert refused(claim, request_, people.olga) == gone
    request_.approver = None
    assert refused(claim, request_, people.olga) == "The request is not approved: approved."
    request_.approver, request_.state = people.rie, "pending"
    assert refused(claim, request_, people.olga) == "The request is not approved: waiting for a decision."
    assert refused(claim, request_, people.rie) == "Only an operator can start this."
    around.stopped = "stopped"
    assert refused(claim, request_, people.rie) == "stopped"
    around.read_only = "rolled back"
    assert refused(claim, request_, people.rie) == "rolled back"


@pytest.fixture
def used(request_: ApprovalRequest, people: SimpleNamespace, recorded: list[object]) -> ApprovalRequest:
    request_.state, request_.starter = "used", people.olga
    recorded.clear()
    return request_


def test_a_used_approval_stays_valid_while_its_people_keep_their_roles(
    used: ApprovalRequest, database: Database, recorded: list[object], around: SimpleNamespace
) -> None:
    gate.still_valid(used)
    assert (database.done, recorded) == ([("get", ID)], [used])
    used.starter = person(9, "Tom")
    assert refused(gate.still_valid, used) == "Tom is no longer an operator."
    used.requester = person(9, "Ann")
    assert refused(gate.still_valid, used) == "Ann is no longer an operator."
    used.approver = person(8, "Rie")
    assert refused(gate.still_valid, used) == "Rie approved this and is no longer a reviewer."
    used.starter = None
    assert refused(gate.still_valid, used) == "The approval behind this run is not in use."
    used.starter, used.approver = used.requester, None
    assert refused(gate.still_valid, used) == "The approval behind this run is not in use."
    around.stopped = "stopped"
    assert refused(gate.still_valid, used) == "stopped"
    around.back = True
    back = "The database's clock is behind the newest entry of the audit log. Set it right first."
    assert refused(gate.still_valid, used) == back


def test_only_the_release_of_a_stop_passes_the_stop(request_: ApprovalRequest, around: SimpleNamespace) -> None:
    around.stopped = "stopped"
    assert refused(gate.insist_not_stopped, request_) == "stopped"
    request_.kind = "release_stop"
    gate.insist_not_stopped(request_)


# The audit log


def told(request: ApprovalRequest, **values: Any) -> Any:
    details = {"kind": KIND, "of": "stage:5", "reason": "fine", "accepted": ["big"], "until": NOW.isoformat()}
    entry = {"actor_id": 8, "digest": request.digest, "subject_label": "Delete", "environment": "qa"}
    for name, value in values.items():
        (details if name in details else entry)[name] = value
    return SimpleNamespace(**entry, details=details)


MOVE = (Action.APPROVAL_APPROVED, 8, NOW, "fine", ["big"])


@pytest.mark.parametrize(
    "values",
    [{"actor_id": 9}, {"digest": "e"}, {"subject_label": "x"}, {"environment": ""}, {"kind": "policy"},
     {"of": "stage:6"}, {"reason": "x"}, {"accepted": []}, {"until": (NOW - timedelta(seconds=1)).isoformat()}],
)  # fmt: skip
def test_an_entry_that_says_something_else_does_not_count(
    request_: ApprovalRequest, database: Database, values: dict[str, Any]
) -> None:
    database.answers = [told(request_, **values)]
    assert gate._recorded(request_, MOVE) is False


def test_exactly_one_entry_of_the_move_counts(request_: ApprovalRequest, database: Database) -> None:
    for entries in ([told(request_)], [told(request_, until=(NOW + timedelta(days=1)).isoformat())]):
        database.answers = entries
        assert gate._recorded(request_, MOVE) is True
    of_move = '("audit_entry"."action" = approval.approved AND "audit_entry"."subject" = approval:3)'
    assert database.done[0][1].startswith(of_move)
    assert gate._recorded(request_, (*MOVE[:2], None, *MOVE[3:])) is False
    database.answers = [told(request_), told(request_)]
    assert gate._recorded(request_, MOVE) is False
    database.answers = []
    assert gate._recorded(request_, MOVE) is False
    old = told(request_, reason="x" * 500)
    del old.details["accepted"]
    database.answers = [old]
    assert gate._recorded(request_, (*MOVE[:3], "x" * 501, [])) is True
    assert gate._recorded(request_, MOVE) is False


def test_each_move_of_the_request_is_looked_for(
    request_: ApprovalRequest, monkeypatch: pytest.MonkeyPatch, people: SimpleNamespace
) -> None:
    asked, lacking = list[object](), list[Action]()

    def found(request: ApprovalRequest, move: Any) -> bool:
        assert request is request_
        asked.append(move)
        return move[0] not in lacking

    monkeypatch.setattr(gate, "_recorded", found)
    request_.starter, decided_ = people.olga, (request_.use_by, "fine", ["big"])
    moves = [(Action.APPROVAL_REQUESTED, 9, NOW, "", []), (Action.APPROVAL_APPROVED, 8, *decided_)]
    gate.insist_recorded(request_)
    assert asked == moves
    request_.state = "used"
    asked.clear()
    gate.insist_recorded(request_)
    assert asked == [*moves, (Action.APPROVAL_USED, 9, *decided_)]
    differs = "The request differs from its entry in the audit log. Have the database checked."
    for lacking[:] in ([Action.APPROVAL_REQUESTED], [Action.APPROVAL_USED]):
        assert refused(gate.insist_recorded, request_) == differs
    lacking.clear()
    request_.evidence = "{}"
    assert refused(gate.insist_recorded, request_) == differs


# Withdrawing and expiring

OPEN = f'({ID} AND "kvops_approvalrequest"."state" IN (pending, approved))'
WITHDRAWN = {
    "state": "withdrawn",
    "reason": "not like this",
    "reason_sentence": {"template": "%(typed)s", "facts": {"typed": "not like this"}},
}


@pytest.mark.parametrize("act", [gate.withdraw, gate.withdraw_within])
def test_an_open_request_is_withdrawn_with_the_reason(
    act: Callable[..., None], request_: ApprovalRequest, people: SimpleNamespace, database: Database
) -> None:
    DECIDED.clear()
    act(request_, by=people.olga, reason=" not like this ")
    assert database.done == [
        "insist", ("update", OPEN, WITHDRAWN), ("again", 3), ("announced", (request_, people.olga), {}),
        record(Action.APPROVAL_WITHDRAWN, request_, people.olga.actor),
    ]  # fmt: skip
    assert [request_] == DECIDED
    act(request_, by=people.olga)
    assert database.done[6][2]["reason"] == "fine"
    act(request_, by=people.olga, reason=say("It is %(x)s.", x="so"))
    values = database.done[11][2]
    assert (values["reason"], values["reason_sentence"]["template"]) == ("It is so.", "It is %(x)s.")
    database.changed = 0
    assert refused(act, request_, by=people.olga) == "The request is over; there is nothing to withdraw."
    assert refused(act, request_, by=people.rie) == "Only an operator can withdraw a request."


def test_all_open_requests_are_withdrawn_by_the_system(request_: ApprovalRequest, database: Database) -> None:
    other, actor = ApprovalRequest(pk=4, state="pending"), log.Actor.system("x")
    database.answers = [other, request_]
    updated = iter([0, 1])

    def update(query: QuerySet[ApprovalRequest], **values: object) -> int:
        database.done.append(("update", database.where(query), values))
        return next(updated)

    database.update = update  # type: ignore[method-assign]
    gate.withdraw_all(actor=actor, reason=Sentence("rolled back"))
    values = {"state": "withdrawn", "reason": "rolled back", "reason_sentence": {}}
    assert database.done == [
        "insist", ("rows", '"kvops_approvalrequest"."state" IN (pending, approved)'),
        ("update", '("kvops_approvalrequest"."id" = 4 AND "kvops_approvalrequest"."state" = pending)', values),
        ("update", f'({ID} AND "kvops_approvalrequest"."state" = approved)', values),
        ("again", 3), ("announced", (request_, None), {}), record(Action.APPROVAL_WITHDRAWN, request_, actor),
    ]  # fmt: skip


LATE = (
    '(("kvops_approvalrequest"."decide_by" < (STATEMENT_TIMESTAMP()) AND "kvops_approvalrequest"."state" = pending) OR '
    '("kvops_approvalrequest"."state" = approved AND "kvops_approvalrequest"."use_by" < (STATEMENT_TIMESTAMP())))'
)


def test_a_request_whose_time_is_over_expires(request_: ApprovalRequest, database: Database) -> None:
    database.answers = [request_, request_]
    assert gate.expire() == 2
    one = [
        ("update", f"({LATE} AND {ID})", {"state": "expired"}), ("again", 3), ("announced", (request_, None), {}),
        record(Action.APPROVAL_EXPIRED, request_, log.Actor.system("sweep")),
    ]  # fmt: skip
    assert database.done == [("rows", LATE), *one, *one]
    database.changed, database.answers = 0, [request_]
    database.done.clear()
    assert (gate.expire(), len(database.done)) == (0, 2)


# Asking and deciding


def submit(by: Any, **other: Any) -> ApprovalRequest:
    what: Any = {"subject": "stage:5", "title": "T" * 301, "evidence": EVIDENCE, "requester": by, **other}
    return gate.submit(KIND, **what)


def test_a_request_is_created_with_its_evidence_and_told(
    request_: ApprovalRequest, people: SimpleNamespace, database: Database
) -> None:
    assert submit(people.olga, environment=request_.environment, standing_until=NOW) is request_
    created = {
        "kind": KIND, "subject": "stage:5", "title": "T" * 300, "environment": request_.environment,
        "evidence": TEXT, "digest": digest_of(TEXT), "requester": people.olga,
        "decide_by": Now() + timedelta(seconds=timing.DECIDE_WITHIN), "standing_until": NOW,
    }  # fmt: skip
    of = '"kvops_approvalrequest"'
    assert database.done == [
        "insist", ("exists", f'{of}."created_at" > (STATEMENT_TIMESTAMP())'),
        ("exists", f'({of}."state" = pending AND {of}."kind" = delete_keys AND {of}."subject" = stage:5)'),
        ("create", created), ("again", 3),
        record(Action.APPROVAL_REQUESTED, request_, people.olga.actor, NOW), ("asked", (request_,), {}),
    ]  # fmt: skip
    database.done.clear()
    submit(people.olga)
    assert [database.done[3][1][name] for name in ("environment", "standing_until")] == [None, None]


def test_each_reason_not_to_ask_has_its_sentence(
    people: SimpleNamespace, database: Database, around: SimpleNamespace
) -> None:
    database.answers = [False, True]
    assert refused(submit, people.olga) == "A request for this is already waiting for a decision."
    database.answers = [True]
    behind = "The database clock is behind the newest request. Have it checked first."
    assert refused(submit, people.olga) == behind
    room = gate.MAX_EVIDENCE - len(json.dumps({"x": ""}, separators=(",", ":")))
    assert room == 65_536 - 8
    submit(people.olga, evidence={"x": "あ" * (room // 3) + "a" * (room % 3)})
    large = "The evidence is larger than 64 KiB; it must name its lists by digest."
    assert refused(submit, people.olga, evidence={"x": "a" * (room + 1)}) == large
    assert refused(submit, people.olga, evidence={"x": "あ" * (room // 3 + 1)}) == large
    assert refused(submit, people.rie) == "Only an operator can ask for an approval."
    around.read_only = "rolled back"
    assert refused(submit, people.rie) == "rolled back"


def approve(request: ApprovalRequest, by: Any, **other: Any) -> None:
    gate.approve(request, by=by, **{"shown": request.digest, "reason": " this is fine ", **other})


@pytest.fixture
def pending(request_: ApprovalRequest) -> ApprovalRequest:
    request_.state = "pending"
    return request_


DECIDABLE = (
    '("kvops_approvalrequest"."decide_by" >= (STATEMENT_TIMESTAMP()) AND "kvops_approvalrequest"."digest" = {digest} '
    f'AND {ID} AND "kvops_approvalrequest"."state" = pending AND NOT ("kvops_approvalrequest"."requester_id" = 8))'
)
TYPED = {"reason": "this is fine", "reason_sentence": {"template": "%(typed)s", "facts": {"typed": "this is fine"}}}


def test_another_person_approves_what_was_shown(
    pending: ApprovalRequest, people: SimpleNamespace, database: Database
) -> None:
    approve(pending, people.rie)
    values = {
        "state": "approved", "approver": people.rie, "decided_at": Now(), "accepted": [], **TYPED,
        "use_by": Now() + timedelta(seconds=timing.USE_WITHIN),
    }  # fmt: skip
    assert database.done == [
        ("update", DECIDABLE.format(digest=pending.digest), values), ("again", 3),
        ("announced", (pending, people.rie), {}),
        record(Action.APPROVAL_APPROVED, pending, people.rie.actor, pending.use_by),
    ]  # fmt: skip
    database.done.clear()
    pending.standing_until = NOW
    approve(pending, people.rie)
    assert database.done[0][2]["use_by"] == NOW


def test_a_rejection_has_a_reason_and_no_time_of_use(
    pending: ApprovalRequest, people: SimpleNamespace, database: Database
) -> None:
    gate.reject(pending, by=people.rie, shown=pending.digest, reason=" this is fine ")
    values = {"state": "rejected", "approver": people.rie, "decided_at": Now(), **TYPED}
    assert database.done[0] == ("update", DECIDABLE.format(digest=pending.digest), values)
    assert database.done[-1] == record(Action.APPROVAL_REJECTED, pending, people.rie.actor, pending.use_by)
    no_reason = "Give the reason, so that the operator can correct the request."
    assert refused(gate.reject, pending, by=people.rie, shown=pending.digest, reason=" ") == no_reason


def why_not(request: ApprovalRequest) -> str:
    """The reason why the request cannot be approved now."""
    return f"not now: {request.pk}"


def test_each_reason_not_to_decide_has_its_sentence(
    pending: ApprovalRequest, people: SimpleNamespace, database: Database, around: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    database.changed = 0
    late = "The request no longer waits for a decision, or its deadline has passed."
    assert refused(approve, pending, people.rie) == late
    monkeypatch.setitem(registry.REQUESTS, KIND, RequestKind(lambda *_: "", NAMESPACE, why_not=why_not))
    assert refused(approve, pending, people.rie) == "not now: 3"
    assert refused(gate.reject, pending, by=people.rie, shown=pending.digest, reason="no longer needed") == late
    another = "The evidence on your page differs from the evidence of the request. Load the page again."
    assert refused(approve, pending, people.rie, shown="e") == another
    pending.requester = people.rie
    mine = "You asked for this yourself; another person must decide."
    assert refused(approve, pending, people.rie, shown="e") == mine
    assert refused(approve, pending, people.olga) == "Only a reviewer can decide."
    around.read_only = "rolled back"
    assert refused(approve, pending, people.olga) == "rolled back"
    risky = "The request names risks. Accept each of them by its name, or reject the request."
    assert refused(approve, pending, people.olga, accepted=["big"]) == risky
    assert around.open is False


# Standing approvals

FORCE = '"kvops_approvalrequest"."standing_until" > (STATEMENT_TIMESTAMP())'
OF = '"kvops_approvalrequest"."kind" = clearing'
SUBJECT = '"kvops_approvalrequest"."subject" = clearing:4'
DECIDED_AT = '"kvops_approvalrequest"."decided_at"'
NEWEST = ' ORDER BY "kvops_approvalrequest"."id" DESC'


def test_the_newest_approval_and_request_of_a_subject_are_asked_for(
    request_: ApprovalRequest, database: Database
) -> None:
    of: Any = (ApprovalRequest.Kind.CLEARING, "clearing:4")
    assert standing.approval_in_force(*of) is request_
    assert standing.newest_request(*of) is request_
    assert standing.was_approved(*of) is False
    assert standing.soon_over(request_) is False
    state = '"kvops_approvalrequest"."state"'
    assert database.done == [
        ("first", f"({OF} AND {FORCE} AND {state} = approved AND {SUBJECT}){NEWEST}"),
        ("first", f"({OF} AND {SUBJECT}){NEWEST}"),
        ("exists", f"({DECIDED_AT} IS NOT NULL AND {OF} AND {SUBJECT} AND NOT ({state} = rejected))"),
        ("exists", f'({ID} AND "kvops_approvalrequest"."standing_until" < (STATEMENT_TIMESTAMP() + 7 days, 0:00:00))'),
    ]  # fmt: skip


STANDS = f'({ID} AND {FORCE} AND "kvops_approvalrequest"."state" = approved)'


def test_a_standing_approval_is_in_force_with_both_people(
    request_: ApprovalRequest, database: Database, recorded: list[object], around: SimpleNamespace
) -> None:
    def stands() -> str:
        database.answers = [True]
        return refused(standing.insist_standing, request_)

    database.answers = [True]
    standing.insist_standing(request_)
    assert (database.done, recorded) == ([("get", ID), ("exists", STANDS)], [request_])
    request_.approver = person(8, "Rie")
    assert stands() == "Rie approved this and is no longer a reviewer."
    request_.requester = person(9, "Olga")
    assert stands() == "Olga is no longer an operator."
    request_.approver = None
    assert stands() == "The standing approval is no longer in force: approved. Ask again."
    request_.approver, request_.state, database.answers = person(8, "Rie", "reviewer"), "withdrawn", []
    over = "The standing approval is no longer in force: withdrawn. Ask again."
    assert refused(standing.insist_standing, request_) == over
    around.stopped = "stopped"
    assert refused(standing.insist_standing, request_) == "stopped"
    around.read_only = "rolled back"
    assert refused(standing.insist_standing, request_) == "rolled back"


@pytest.mark.usefixtures("recorded")
def test_a_run_carries_a_standing_approval_of_the_same_rule(request_: ApprovalRequest, database: Database) -> None:
    actor, of = log.Actor.system("x"), '"kvops_approvalrequest"'
    database.answers = [True]
    assert standing.carry(request_, kind=KIND, digest=request_.digest, actor=actor) is request_
    entry = {
        "actor": actor, "environment": "qa", "subject": "approval:3", "subject_label": "Delete",
        "digest": request_.digest, "details": {"kind": "delete_keys", "of": "stage:5"},
    }  # fmt: skip
    carried = ("record", Action.APPROVAL_CARRIED, entry)
    assert database.done == ["insist", ("get", ID), ("lock", 1), ("get", ID), ("exists", STANDS), carried]
    other = "The rule is no longer the one that was approved. Ask again."
    for kind, digest in ((ApprovalRequest.Kind.POLICY, request_.digest), (KIND, "e")):
        database.answers = [True]
        assert refused(standing.carry, request_, kind=kind, digest=digest, actor=actor) == other
    assert of in database.done[1][1]
