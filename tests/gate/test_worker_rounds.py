"""The answer of the door, the permission for a round of an expiry Worker, and its acceptance, without a row."""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet
from django.http import HttpResponse
from django.test import RequestFactory

from audit import log
from audit.actions import Action
from backups.models import WorkerRound, WorkerRule
from backups.worker_expiry import conditions, door, rounds, rules, script, signing, strangers
from backups.worker_expiry.messages import WorkerAsk
from backups.worker_expiry.refusals import WorkerRefused
from backups.worker_expiry.rounds import WorkerAnswer
from backups.worker_expiry.signing import SignedCall
from kvops.approvals import standing
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from tests.gate.test_worker_guards import AT, KEY, NONCE, now, rule_of, signature  # noqa: F401

PATH, BODY = "/worker/4/ask", b'{"round": "x"}'


# The door


class AskedDoor:
    """The rule behind the door and all that is asked about it; `held` changes the answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rule: WorkerRule | None = rule_of()
        self.many = self.crowd = False
        self.key = KEY
        self.noted = list[object]()
        self.why = ""
        found = SimpleNamespace(filter=lambda **of: SimpleNamespace(first=lambda: self.rule if of == {"pk": 4} else 0))
        monkeypatch.setattr(door, "_RULES", found)
        monkeypatch.setattr(strangers, "are_too_many", lambda rule: self.crowd if rule is self.rule else None)
        monkeypatch.setattr(strangers, "key_of", lambda rule: self.key if (rule, rule.pk) == (self.rule, 4) else "")
        monkeypatch.setattr(strangers, "note_refused", lambda *given: self.noted.append(given))
        monkeypatch.setattr(door, "_too_many", lambda rule: self.many if rule is self.rule else None)
        monkeypatch.setattr(door, "_why_not", self.why_not)

    def why_not(self, rule: WorkerRule, call: SignedCall, key: str, sent: str) -> str:
        assert (rule, key) == (self.rule, KEY)
        mine = SignedCall(PATH, str(AT), NONCE, BODY)
        return self.why or ("" if (call, sent) == (mine, signature(mine)) else f"unsigned {call} {sent}")

    def answer(self, body: bytes = BODY) -> HttpResponse:
        sent = {"x-kvops-timestamp": str(AT), "x-kvops-nonce": NONCE}
        sent["x-kvops-signature"] = signature(SignedCall(PATH, str(AT), NONCE, BODY))
        request = RequestFactory().post(PATH, body, "application/json", headers=sent)
        return door._answer(request, 4, self.take)

    def take(self, rule: WorkerRule, body: bytes) -> WorkerAnswer:
        assert (rule, body) == (self.rule, BODY)
        return WorkerAnswer(200, {"answer": "yes"})


@pytest.fixture
def at_the_door(monkeypatch: pytest.MonkeyPatch) -> AskedDoor:
    return AskedDoor(monkeypatch)


def told(answer: HttpResponse) -> tuple[int, str]:
    return answer.status_code, answer.content.decode()


def test_a_signed_call_gets_a_signed_answer(at_the_door: AskedDoor) -> None:
    answer = at_the_door.answer()
    assert (*told(answer), answer["Content-Type"]) == (200, '{"answer": "yes"}', "application/json")
    signed = signing.signature_of_answer(KEY, PATH, NONCE, 200, '{"answer": "yes"}')
    assert (answer["X-Kvops-Signature"], at_the_door.noted) == (signed, [])


def test_too_many_signed_calls_are_told_to_come_later(at_the_door: AskedDoor) -> None:
    at_the_door.many = True
    answer = at_the_door.answer()
    assert (answer.status_code, json.loads(answer.content)) == (429, {"answer": "later"})
    assert answer["X-Kvops-Signature"] == signing.signature_of_answer(KEY, PATH, NONCE, 429, '{"answer": "later"}')


def test_a_stranger_gets_one_word(at_the_door: AskedDoor) -> None:
    at_the_door.why = "late"
    assert told(at_the_door.answer()) == (403, "late\n")
    assert at_the_door.noted == [(at_the_door.rule, "late")]
    at_the_door.key = ""
    assert told(at_the_door.answer()) == (403, "no\n")
    at_the_door.crowd = True
    assert told(at_the_door.answer()) == (429, "later\n")
    at_the_door.rule = None
    assert told(at_the_door.answer()) == (403, "no\n")
    assert told(at_the_door.answer(b" " * (door.LARGEST + 1))) == (413, "large\n")
    assert len(at_the_door.noted) == 1


def test_a_body_of_the_largest_size_is_read(at_the_door: AskedDoor) -> None:
    assert told(at_the_door.answer(b" " * door.LARGEST))[1].startswith("unsigned ")


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature"])
def test_a_call_without_a_header_is_unsigned(
    at_the_door: AskedDoor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[object]()
    monkeypatch.setattr(door, "_why_not", lambda _rule, call, _key, sent: noted(seen, (call, sent), "unsigned"))
    sent = {f"x-kvops-{one}": one for one in ("timestamp", "nonce", "signature") if one != name.lower()}
    door._answer(RequestFactory().post(PATH, BODY, "application/json", headers=sent), 4, at_the_door.take)
    given = [sent.get(f"x-kvops-{one}", "") for one in ("timestamp", "nonce", "signature")]
    assert seen == [(SignedCall(PATH, given[0], given[1], BODY), given[2])]


def test_numbers_are_counted_for_a_minute_and_dropped_after_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, counts = list[str](), [door.PER_MINUTE, door.PER_MINUTE + 1]
    monkeypatch.setattr(QuerySet, "delete", lambda query: asked.append(where(query)))
    monkeypatch.setattr(QuerySet, "count", lambda query: noted(asked, where(query), counts.pop(0)))
    assert (door._too_many(rule_of()), door._too_many(rule_of())) == (False, True)
    old = '"backups_workernonce"."at" < (STATEMENT_TIMESTAMP() - 0:15:00)'
    assert asked == [old, RECENT, old, RECENT]


RECENT = '("backups_workernonce"."at" > (STATEMENT_TIMESTAMP() - 0:01:00) AND "backups_workernonce"."rule_id" = 4)'


def noted[T](into: list[Any], fact: object, answer: T) -> T:
    """The answer of a stand-in, which notes what it was given."""
    into.append(fact)
    return answer


def where(query: QuerySet[Any]) -> str:
    return str(query.query).split(" WHERE ", 1)[1]


# The permission


ASK = WorkerAsk("x", 3, "d")


class Rounds:
    """The rounds of the rule, without rows: the one that is found, and what was asked and changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: WorkerRound | None = None
        self.done = list[object]()
        monkeypatch.setattr(QuerySet, "first", self.first(self))
        monkeypatch.setattr(QuerySet, "update", self.update(self))

    @staticmethod
    def first(of: "Rounds") -> Any:
        return lambda query: noted(of.done, where(query), of.found)

    @staticmethod
    def update(of: "Rounds") -> Any:
        return lambda query, **values: noted(
            of.done, (where(query), {name: type(one).__name__ for name, one in values.items()}), 1
        )


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """A rule whose conditions hold."""
    of, approval = Rounds(monkeypatch), ApprovalRequest(pk=3)
    of_ask = {(4, 3): approval}
    monkeypatch.setattr(conditions, "approval_for", lambda rule, pk: of_ask[rule.pk, pk])
    monkeypatch.setattr(script, "rule_in_script", lambda rule: {"digest": "d"} if rule.pk == 4 else {})
    monkeypatch.setattr(conditions, "insist_alone", lambda rule: of.done.append(("alone", rule.pk)))
    monkeypatch.setattr(conditions, "insist_hours", lambda rule: of.done.append(("hours", rule.pk)))
    monkeypatch.setattr(standing, "insist_standing", lambda given: of.done.append(("standing", given is approval)))
    monkeypatch.setattr(rounds, "_begin", lambda *given: ("begun", *given))
    return of


FOUND = '("backups_workerround"."rule_id" = 4 AND "backups_workerround"."token" = x)'


def test_the_first_question_begins_a_round(held: Rounds) -> None:
    rule = rule_of()
    begun: object = rounds._allow(rule, ASK)
    assert begun == ("begun", rule, ASK, ApprovalRequest(pk=3))
    assert held.done == [("alone", 4), FOUND, ("hours", 4)]


def running(**values: object) -> WorkerRound:
    run = Run(pk=8, state=str(values.pop("state", "running")), stop_requested_by=str(values.pop("stop", "")))
    return WorkerRound(**{"pk": 7, "approval_id": 3, "run": run, **values})


def test_a_round_that_runs_goes_on(held: Rounds) -> None:
    held.found = running()
    assert rounds._allow(rule_of(), ASK) == ApprovalRequest(pk=3)
    heard = ('"backups_workerround"."id" = 7', {"heard_at": "Now"})
    assert held.done == [("alone", 4), FOUND, ("standing", True), heard]


OVER = "The round is over. The next due time begins another one."
ANOTHER = "The round began under another approval. The next due time begins another one."


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"run": None}, OVER), ({"ended": "complete"}, OVER), ({"reason": "x"}, OVER), ({"state": "failed"}, OVER),
        ({"stop": "Anna"}, OVER), ({"approval_id": 2}, ANOTHER),
    ],
)  # fmt: skip
def test_a_round_that_is_over_or_of_another_approval_is_refused(
    held: Rounds, values: dict[str, object], told: str
) -> None:
    held.found = running(**values)
    with pytest.raises(WorkerRefused) as refused:
        rounds._allow(rule_of(), ASK)
    assert (str(refused.value), len(held.done)) == (told, 2)


def test_a_script_of_another_rule_is_refused(held: Rounds) -> None:
    with pytest.raises(WorkerRefused) as refused:
        rounds._allow(rule_of(), WorkerAsk("x", 3, "e"))
    told = "The deployed Worker carries another rule than the approved one. Deploy the new script."
    assert (str(refused.value), held.done) == (told, [])


@pytest.mark.parametrize("length", [10, 400])
def test_a_round_is_written_with_its_run_and_entry(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    rule, done = rule_of(pattern="p" * length), list[object]()
    approval, carried = ApprovalRequest(pk=3), ApprovalRequest(pk=3, digest="d")

    def carry(given: ApprovalRequest, **named: object) -> ApprovalRequest:
        assert (given is approval, named) == (True, {"kind": rules.KIND, "digest": "r", "actor": rounds.SYSTEM})
        return carried

    def create(*given: object, **named: object) -> Run:
        done.append((*given, named))
        return Run(pk=8)

    monkeypatch.setattr(rules, "rule_digest", lambda *given: "r" if given == (rule, approval) else "")
    monkeypatch.setattr(rules, "scope_digest", lambda given: "s" if given is rule else "")
    monkeypatch.setattr(standing, "carry", carry)
    monkeypatch.setattr(run_driver, "create", create)
    monkeypatch.setattr(QuerySet, "create", lambda _query, **named: noted(done, named, WorkerRound(pk=7)))
    monkeypatch.setattr(procedures, "begun", lambda *given: {"begun": given})
    monkeypatch.setattr(rounds, "record", lambda *given, **named: done.append((*given, named)))
    assert rounds._begin(rule, ASK, approval) is carried
    label, begun = str(rule)[:300], ("worker_expiry", "CACHE", ["p" * length])
    environment = rule.namespace.environment
    of_run = {
        "subject": rule.subject, "label": label, "actor": rounds.SYSTEM, "environment": environment,
        "approval": carried,
    }  # fmt: skip
    assert done == [
        (Run.Kind.WORKER_ROUND, of_run),
        {"rule": rule, "token": "x", "approval": carried, "run": Run(pk=8), "scope_digest": "s"},
        (Action.WORKER_ALLOWED, rule, rounds.SYSTEM, {"round": 7, "run": 8, "begun": begun}, {"digest": "d"}),
    ]


# The acceptance


class Accepting:
    """The round as it is found, and what is changed and recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.updated, self.done = 1, list[object]()
        self.found = SimpleNamespace(pk=7, state="given", rule=rule_of(), scope_digest="s")
        monkeypatch.setattr(log, "transaction", nullcontext)
        monkeypatch.setattr(rounds, "WorkerRound", SimpleNamespace(objects=self))
        monkeypatch.setattr(rounds, "_locked", lambda rule: ("locked", rule))
        monkeypatch.setattr(rounds, "record", lambda *given, **named: self.done.append((*given, named)))

    def select_for_update(self, **named: object) -> "Accepting":
        assert named == {"of": ("self",)}
        return self

    def select_related(self, *names: str) -> "Accepting":
        assert names == ("run",)
        return self

    def get(self, **of: object) -> SimpleNamespace:
        assert of == {"pk": 7}
        return self.found

    def filter(self, **of: object) -> "Accepting":
        self.done.append(of)
        return self

    def update(self, **values: object) -> int:
        self.done.append({**values, "accepted_at": type(values["accepted_at"]).__name__})
        return self.updated


@pytest.fixture
def accepting(monkeypatch: pytest.MonkeyPatch) -> Accepting:
    return Accepting(monkeypatch)


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setattr(Person, "holds", lambda person, role: person.name == "Anna" and role == Role.OPERATOR)
    monkeypatch.setattr(Person, "actor", property(lambda _person: "actor"))
    return Person(pk=5, name="Anna")


def test_an_acceptance_is_kept_and_recorded(accepting: Accepting, operator: Person) -> None:
    note = "xy" * 500 + "z"
    rounds.accept(WorkerRound(pk=7), note=f" {note} ", by=operator)
    assert accepting.done == [
        {"pk": 7, "accepted_at": None},
        {"accepted_by": operator, "accepted_at": "Now", "accepted_note": note},
        (
            Action.WORKER_ACCEPTED, ("locked", accepting.found.rule), "actor", {"round": 7, "note": note[:1_000]},
            {"digest": "s"},
        ),
    ]  # fmt: skip


def test_an_acceptance_is_refused_in_full_sentences(accepting: Accepting, operator: Person) -> None:
    def told(note: str = "no longer needed", by: Person = operator) -> str:
        with pytest.raises(WorkerRefused) as refused:
            rounds.accept(WorkerRound(pk=7), note=note, by=by)
        return str(refused.value)

    assert told(by=Person(name="Ben")) == "Only an operator can do this."
    assert told(" ") == "Describe your test of the application and its result."
    accepting.updated = 0
    assert told() == "The round is accepted already."
    accepting.done.clear()
    accepting.found.state = "stopped"
    assert told() == "Only a reported round that gave expirations can be accepted."
    assert accepting.done == []
