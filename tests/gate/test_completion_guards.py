"""Leftovers and other keys are explained, and a clean-up is ended, without a row: conditions, and what is kept."""

from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from backups.cleanup import completion
from backups.cleanup.stages import CleanupRefused
from backups.execution.lifecycle import Lifecycle
from backups.models import CleanupRequest, CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.models import Person

BY: Any = Person(pk=9, name="Olga")
NOTE = f" {'because ' * 130}"
STAGE = '"backups_cleanupstage"'
LEFT = f'({STAGE}."id" = 8 AND NOT {STAGE}."scheduled" AND {STAGE}."state" IN (deleted, confirmed))'
OTHERS = f'({STAGE}."others" > 0 AND {STAGE}."id" = 8 AND NOT {STAGE}."scheduled" AND {STAGE}."state" = confirmed)'
OF_REQUEST = f'{STAGE}."request_id" = 5'
OPEN = f'({OF_REQUEST} AND "kvops_approvalrequest"."state" IN (pending, approved))'
BEFORE = f'({OF_REQUEST} AND {STAGE}."state" IN ('


def where(query: Any) -> str:
    """The condition of a query; a lock would need a transaction."""
    bare = query.all()
    bare.query.select_for_update = False
    return str(bare.query).split(" WHERE ", 1)[1]


class CompletionDatabase:
    """Notes each query from its WHERE on; finds these rows."""

    def __init__(self) -> None:
        self.done, self.changed, self.rows = list[Any](), 1, dict[str, list[Any]]()
        self.refused = False

    def update(self, query: Any, **values: object) -> int:
        self.done.append(("update", where(query), values))
        return self.changed

    def iterate(self, query: Any) -> Any:
        self.done.append(("rows", query.model.__name__, where(query), query.query.select_for_update))
        return iter(self.rows.get(query.model.__name__, []))


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> CompletionDatabase:
    found = CompletionDatabase()

    @contextmanager
    def transaction() -> Any:
        found.done.append("open")
        yield

    def noted(name: str) -> Callable[..., Any]:
        return lambda *what, **how: found.done.append((name, what, how))

    def update(query: Any, **values: object) -> int:
        return found.update(query, **values)

    monkeypatch.setattr(QuerySet, "update", update)
    monkeypatch.setattr(QuerySet, "__iter__", lambda query: found.iterate(query))  # noqa: PLW0108
    monkeypatch.setattr(QuerySet, "__len__", lambda _query: 0)
    monkeypatch.setattr(log, "transaction", transaction)
    monkeypatch.setattr(log, "record", noted("record"))
    monkeypatch.setattr(completion, "insist_operator", lambda by: found.done.append(("operator", by)))
    monkeypatch.setattr(Lifecycle, "record", lambda _life, *what, **how: found.done.append(("record", what, how)))
    monkeypatch.setattr(approval_gate, "withdraw", noted("withdraw"))
    return found


def refused(act: Callable[..., object], *what: Any, **how: Any) -> str:
    with pytest.raises(CleanupRefused) as error:
        act(*what, **how)
    return str(error.value)


def test_leftovers_are_explained_in_words_before_the_acceptance(database: CompletionDatabase) -> None:
    stage = CleanupStage(pk=8)
    completion.explain_leftovers(stage, note=NOTE, by=BY)
    assert database.done == [
        "open", ("operator", BY), ("update", LEFT, {"leftovers_note": NOTE.strip()}),
        ("record", (Action.LEFTOVERS_EXPLAINED, stage), {"actor": BY.actor, "details": {"note": NOTE[:1000]}}),
    ]  # fmt: skip
    sentence = "Leftovers are explained after the deletion and before the stage is accepted."
    assert (
        refused(completion.explain_leftovers, stage, note=" ", by=BY)
        == "Describe why these keys are left, and the next step."
    )
    database.changed = 0
    assert refused(completion.explain_leftovers, stage, note="no longer needed", by=BY) == sentence


def test_other_keys_are_explained_after_the_proof(database: CompletionDatabase) -> None:
    stage = CleanupStage(pk=8, others=3)
    completion.explain_others(stage, note=NOTE, by=BY)
    details = {"keys": 3, "note": NOTE[:1000]}
    assert database.done == [
        "open", ("operator", BY),
        ("update", OTHERS, {"others_note": NOTE.strip(), "others_by": BY, "others_at": Now()}),
        ("record", (Action.OTHERS_EXPLAINED, stage), {"actor": BY.actor, "details": details}),
    ]  # fmt: skip
    assert refused(completion.explain_others, stage, note=" ", by=BY) == "Describe why the other keys are there."
    database.changed = 0
    late = "Other keys are explained after the proof and before the stage is accepted."
    assert refused(completion.explain_others, stage, note="no longer needed", by=BY) == late


def cleanup_of(**values: Any) -> CleanupRequest:
    found = CleanupRequest(pk=5, **values)
    found._state.db = "default"
    return found


def test_a_clean_up_is_ended_and_its_requests_are_withdrawn(
    database: CompletionDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CleanupRequest, "__str__", lambda _cleanup: "master:*")
    database.rows["ApprovalRequest"] = [SimpleNamespace(pk=3), SimpleNamespace(pk=4)]
    reason = "xy" * 251
    completion.end(cleanup_of(), reason=reason, by=BY)
    asked = [done[1:3] for done in database.done if done[0] == "rows"]
    withdrawn = [(what[0].pk, how) for name, what, how in [one for one in database.done if one[0] == "withdraw"]]
    updated = [done[1:] for done in database.done if done[0] == "update"]
    assert asked[:2] == [("CleanupStage", OF_REQUEST), ("ApprovalRequest", OPEN)]
    assert withdrawn == [(3, {"by": BY, "reason": reason}), (4, {"by": BY, "reason": reason})]
    assert [done[3] for done in database.done if done[0] == "rows"] == [False, False, True, True]
    assert (updated[0][0].startswith(BEFORE), updated[0][1]) == (True, {"state": "ended"})
    over = '("backups_cleanuprequest"."completed_at" IS NULL AND "backups_cleanuprequest"."ended_at" IS NULL AND '
    assert updated[1] == (f'{over}"backups_cleanuprequest"."id" = 5)', {"ended_at": Now(), "ended_by": str(BY)})
    recorded = {
        "actor": BY.actor, "subject": "cleanup:5", "subject_label": "master:*", "details": {"reason": "xy" * 250},
    }  # fmt: skip
    assert database.done[0] == ("operator", BY)
    assert database.done[-1] == ("record", (Action.CLEANUP_ENDED,), recorded)


BEGUN = "The deletion has started, so the stage can only go forward."
SUBMITTED = "A stage was submitted just now. Load the page again."
OF_A_RULE = "A round of a scheduled clearing ends with its rule. Look at the page of the rule."


def test_a_clean_up_that_goes_on_is_not_ended(database: CompletionDatabase) -> None:
    database.changed = 0
    assert refused(completion.end, cleanup_of(), reason="no longer needed", by=BY) == "The clean-up is already over."
    for state in ("submitted", "approved"):
        database.rows["CleanupStage"] = [CleanupStage(state=state)]
        assert refused(completion.end, cleanup_of(), reason="no longer needed", by=BY) == SUBMITTED
    database.rows["CleanupStage"] = [CleanupStage(state="prepared"), CleanupStage(state="deleting")]
    database.done.clear()
    assert refused(completion.end, cleanup_of(), reason="no longer needed", by=BY) == BEGUN
    assert len(database.done) == 2
    database.done.clear()
    assert refused(completion.end, cleanup_of(clearing_id=4), reason="no longer needed", by=BY) == OF_A_RULE
    assert database.done == [("operator", BY)]


def test_a_deletion_that_began_meanwhile_is_seen_under_the_lock(database: CompletionDatabase) -> None:
    def iterate(query: Any) -> Any:
        locked = query.query.select_for_update
        return iter([CleanupStage(state="deleting")] if locked else [])

    database.iterate = iterate  # type: ignore[method-assign]
    assert refused(completion.end, cleanup_of(), reason="no longer needed", by=BY) == BEGUN
    assert not [done for done in database.done if done[0] == "update"]
