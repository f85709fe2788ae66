"""A chunk that deleted nothing is closed and planned again, without a row: exactly it, and with its reason."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now

from backups.deletion import chunks as deletion_chunks, settle as deletion_settle
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops.wording import say

LEASE: Any = object()
EQUAL: Any = [SimpleNamespace(index=4, name="mail:a"), SimpleNamespace(index=6, name="mail:b")]
UNSENT = {
    "state": "settled",
    "settled_at": Now(),
    "answer": {
        "unsent": True, "problem": "It waited 9 s.",
        "problem_sentence": {"template": "It waited %(n)s s.", "facts": {"n": 9}},
    },
}  # fmt: skip


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was written, in order."""
    found: list[Any] = []

    def filtered(**of: object) -> SimpleNamespace:
        return SimpleNamespace(update=lambda **values: found.append((of, values)))

    def left(rows: Any) -> None:
        found.append([(row.stage, row.index, row.name, row.outcome) for row in rows])

    monkeypatch.setattr(CleanupChunk, "objects", SimpleNamespace(filter=filtered))
    monkeypatch.setattr(CleanupChunk, "refresh_from_db", lambda _chunk: found.append("read again"))
    monkeypatch.setattr(CleanupException, "objects", SimpleNamespace(bulk_create=left))
    monkeypatch.setattr(deletion_chunks, "plan_again", lambda *given: found.append(given))
    monkeypatch.setattr(deletion_settle, "_record", lambda *given: found.append(given))
    return found


def unsent(attempt: int, problem: Any, **how: bool) -> tuple[CleanupStage, CleanupChunk]:
    stage = CleanupStage(pk=8)
    chunk = CleanupChunk(pk=3, stage=stage, attempt=attempt, first_index=4, last_index=9)
    deletion_settle.settle_unsent(chunk, EQUAL, problem, lease=LEASE, **how)
    return stage, chunk


@pytest.mark.parametrize(("how", "ranges"), [({}, [(4, 9)]), ({"smaller": True}, [(4, 6), (7, 9)])])
def test_a_chunk_that_was_not_sent_is_planned_again_with_its_reason(
    done: list[Any], how: dict[str, bool], ranges: list[tuple[int, int]]
) -> None:
    stage, chunk = unsent(1, say("It waited %(n)s s.", n=9), **how)
    closed = ({"pk": 3, "state": "intended"}, UNSENT)
    assert done == ["read again", closed, (chunk, ranges), (stage, chunk, LEASE)]


def test_a_retry_that_was_not_sent_keeps_the_names_that_were_read(done: list[Any]) -> None:
    stage, _ = unsent(2, "x" * 501)
    assert done[0] == [(stage, 4, "mail:a", "alive"), (stage, 6, "mail:b", "alive")]
    assert done[2][1]["answer"] == {"unsent": True, "problem": "x" * 500, "problem_sentence": {}}
