"""The moves of a change and the QA that it repeats, without a row: each writes exactly this, and asks exactly this."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from backups.changes import moves, qa
from backups.changes.moves import CHANGES
from backups.execution.lifecycle import Lifecycle
from backups.models import KeyChange
from kvops import timing
from kvops.models import Environment, Namespace, Run
from kvops.runs import driver as run_driver
from kvops.wording import say

ACTOR = log.Actor.system("approvals")
State = KeyChange.State


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The moves of `CHANGES`, with all that they were given."""
    found: list[object] = []

    def move(mine: object, *what: object, **how: object) -> None:
        assert mine is CHANGES
        found.append((what, how))

    monkeypatch.setattr(moves, "move", lambda *what, **how: move(CHANGES, *what, **how))
    return found


def noted(calls: list[Any], answer: Any, what: object, how: object) -> Any:
    """The answer, after the call was noted."""
    calls.append((what, how))
    return answer


def change_of(**values: Any) -> KeyChange:
    environment = Environment(pk=1, slug="qa", order=2)
    namespace = Namespace(pk=2, environment=environment, namespace_id="b" * 32, title="SETTINGS", binding="SET")
    found = KeyChange(pk=5, environment=environment, namespace=namespace, name="mail:smtp", object_key="")
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_a_request_that_fell_through_ends_the_change_and_its_page_says_why(moved: list[object]) -> None:
    change, why = change_of(), "rejected " + "x" * 600
    moves._send_back(change, ACTOR, why)
    values = {"ended_because": why, "ended_because_sentence": {}, "finished_at": Now()}
    assert moved == [
        (
            (change, [State.SUBMITTED, State.APPROVED], State.ENDED, Action.CHANGE_ENDED),
            {"actor": ACTOR, "values": values, "details": {"why": why[:500]}},
        )
    ]


def test_a_change_that_was_read_back_is_done_with_its_outcome(moved: list[object]) -> None:
    change = change_of()
    moves.finish(change, KeyChange.Outcome.DIFFERENT, actor=ACTOR, details={"attempt": 2})
    values = {"outcome": "different", "finished_at": Now(), "settled_at": Now()}
    details = {"outcome": "different", "attempt": 2}
    assert moved == [
        (
            (change, [State.WRITING], State.DONE, Action.CHANGE_FINISHED),
            {"actor": ACTOR, "values": values, "details": details},
        )
    ]


def over(change: KeyChange) -> list[Callable[[], None]]:
    return [
        lambda: moves.end(change, [State.DRAFT], because="given up as agreed", actor=ACTOR),
        lambda: moves.finish(change, KeyChange.Outcome.WRITTEN, actor=ACTOR, details={}),
        lambda: moves.erase_soon(change, actor=ACTOR),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_change_that_is_over_erases_its_proposal(
    moved: list[object], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    change, asked = change_of(object_key="p" * 301), list[object]()
    monkeypatch.setattr(run_driver, "create", lambda *what, **how: noted(asked, "run", what, how))

    def filtered(**of: object) -> SimpleNamespace:
        return SimpleNamespace(update=lambda **values: asked.append((of, values)))

    monkeypatch.setattr(KeyChange, "objects", SimpleNamespace(filter=filtered))
    over(change)[which]()
    run = {
        "subject": "keychange:5", "label": "p" * 300, "actor": ACTOR, "environment": change.environment, "total": 1,
    }  # fmt: skip
    assert asked == [((Run.Kind.ERASE_PROPOSAL,), run), ({"pk": 5}, {"erase_run": "run"})]
    assert len(moved) == (which < 2)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_without_a_proposal_there_is_none_to_erase(
    moved: list[object], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    monkeypatch.setattr(run_driver, "create", lambda *_, **__: pytest.fail("erased"))
    over(change_of())[which]()
    assert len(moved) == (which < 2)


def test_a_move_that_came_too_late_says_the_state_that_the_row_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(**of: object) -> KeyChange:
        assert of == {"pk": 5}
        return change_of(state="writing")

    monkeypatch.setattr(KeyChange, "objects", SimpleNamespace(get=get))
    assert str(moves._moved(change_of())) == "This is not possible any more: the change is writing."
    assert str(moves.label(change_of(state="approved"))) == "approved"


# What the lives of changes, stages and restores share


class Locking:
    """A manager that notes how its rows were locked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def select_for_update(self, **how: object) -> "Locking":
        self.asked.append(how)
        return self

    def select_related(self, *names: str) -> "Locking":
        self.asked.append(names)
        return self

    def get(self, **of: object) -> str:
        self.asked.append(of)
        return "row"


def test_the_row_is_locked_and_only_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Locking()
    monkeypatch.setattr(KeyChange, "objects", rows)
    assert CHANGES.locked(change_of()) == cast("Any", "row")
    assert rows.asked == [{"of": ("self",)}, CHANGES.related, {"pk": 5}]


def test_the_approval_is_claimed_before_the_run_and_the_move(monkeypatch: pytest.MonkeyPatch) -> None:
    done, by = list[object](), SimpleNamespace(actor=ACTOR)
    approval = SimpleNamespace(digest="d" * 64)
    change, asked = change_of(), cast("Any", object())
    gate = moves.CHANGES.claim_and_run.__globals__["approval_gate"]
    monkeypatch.setattr(gate, "claim", lambda *what, **how: noted(done, approval, what, how))
    monkeypatch.setattr(run_driver, "create", lambda *what, **how: noted(done, "run", what, how))
    monkeypatch.setattr(Lifecycle, "move", lambda _self, *what, **how: done.append((what, how)))
    run = CHANGES.claim_and_run(change, asked, digest="e" * 64, total=1, by=cast("Any", by))
    assert run == cast("Any", "run")
    assert done == [
        ((asked,), {"kind": "put_key", "subject": "keychange:5", "digest": "e" * 64, "by": by}),
        (
            ("change",),
            {"subject": "keychange:5", "label": str(change), "actor": ACTOR, "person": by, "approval": approval,
             "total": 1, "environment": change.environment},
        ),
        (
            (change, ["approved"], "writing", Action.CHANGE_STARTED),
            {"actor": ACTOR, "digest": "d" * 64, "values": {"run": "run"}},
        ),
    ]  # fmt: skip


# QA first

REPEATABLE = [
    '"backups_keychange"."outcome" = written AND "backups_keychange"."state" = done AND NOT EXISTS(SELECT',
    '"U0"."outcome" = written AND "U0"."state" = done AND "U0"."reverses_id" = ("backups_keychange"."id")',
    '"kvops_environment"."order" < 2',
    '"backups_keychange"."name" = mail:smtp',
    '"kvops_namespace"."binding" = SET',
    """"backups_keychange"."parts" @> Jsonb(['value'])""",
    '"backups_keychange"."accepted_at" >= (STATEMENT_TIMESTAMP() - 7 days, 0:00:00)',
    'ORDER BY "backups_keychange"."accepted_at" DESC',
]
"""How the database is asked for the changes that one may repeat."""


def test_only_an_accepted_change_of_the_week_in_an_earlier_environment_is_repeated() -> None:
    change = change_of(parts=["value"])
    asked = str(qa.accepted_before(change).query)
    assert timing.QA_EVIDENCE == 7 * 24 * 3600
    assert [part for part in REPEATABLE if part not in asked] == []


def test_production_alone_needs_qa() -> None:
    for production in (True, False):
        assert qa.comes_first(change_of(environment=Environment(production=production))) is production


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({"parts": ["value"]}, True), ({"parts": ["value", "metadata"]}, True), ({"parts": ["metadata"]}, False),
        ({"parts": ["expiration"]}, False), ({"parts": ["value", "expiration"]}, False), ({"parts": []}, False),
        ({"parts": ["expiration"], "new_key": True}, True), ({"parts": ["expiration"], "reverses_id": 3}, True),
    ],
)  # fmt: skip
def test_a_reason_stands_in_for_qa_where_a_value_is_put(values: dict[str, object], allowed: bool) -> None:
    assert qa.reason_allowed(change_of(**values)) is allowed


def test_the_reason_of_an_end_is_kept_with_its_facts(moved: list[Any]) -> None:
    moves.end(change_of(), [State.DRAFT], because=say("It is %(state)s.", state="over"), actor=ACTOR)
    values = moved[0][1]["values"]
    assert values["ended_because"] == "It is over."
    assert values["ended_because_sentence"] == {"template": "It is %(state)s.", "facts": {"state": "over"}}
