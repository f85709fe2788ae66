"""The intent of a chunk is no progress: only a chunk without a key to write moves its run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.models import RestoreChunk
from backups.restores import chunks as restore_chunks, moves, write
from backups.restores.plan import ChunkPlan
from backups.restores.write import Putter
from kvops.models import Environment
from kvops.runs import emergency
from kvops.runs.lease import RunProgress
from tests.gate.test_restore_keys import restore_of


class ProgressPutter(Putter):
    """Keeps what its checkpoints were given."""

    def __init__(self) -> None:
        self.restore, self.lease, self.given = restore_of(), cast("Any", self), list[dict[str, object]]()
        self.epoch, self.actor = 1, "actor"

    @contextmanager
    def checkpoint(self, **given: object) -> Iterator[None]:
        self.given.append(given)
        yield

    def progress(self, chunk: RestoreChunk) -> RunProgress:
        return {"done": chunk.last_index + 1}


@pytest.fixture
def putter(monkeypatch: pytest.MonkeyPatch) -> ProgressPutter:
    def filtered(**of: object) -> SimpleNamespace:
        assert of == {"pk": 8, "state": "planned"}
        return SimpleNamespace(update=lambda **_values: 1)

    monkeypatch.setattr(RestoreChunk, "objects", SimpleNamespace(filter=filtered))
    monkeypatch.setattr(RestoreChunk, "refresh_from_db", lambda _self: None)
    monkeypatch.setattr(emergency, "hold", lambda _environment: None)
    monkeypatch.setattr(restore_chunks, "keep", lambda *_: None)
    monkeypatch.setattr(write, "record_restore", lambda *_, **__: None)
    found = ProgressPutter()
    found.restore.environment = Environment(pk=1)
    return found


def plan_of(*names: str) -> ChunkPlan:
    return ChunkPlan(1.0, datetime(2026, 11, 30, tzinfo=UTC), {}, indexes=dict.fromkeys(names, 0))


def test_an_intent_is_no_progress(putter: ProgressPutter) -> None:
    putter._intend(RestoreChunk(pk=8, number=1, last_index=2), plan_of("mail:a"))
    assert putter.given == [{"no_further": True}]


def test_a_chunk_without_a_key_to_write_is(putter: ProgressPutter) -> None:
    putter._intend(RestoreChunk(pk=8, number=1, last_index=2), plan_of())
    assert putter.given == [{"no_further": False, "done": 3}]


def test_names_that_are_not_the_frozen_ones_are_refused_with_the_next_step() -> None:
    rows = SimpleNamespace(values_list=lambda *_, **__: SimpleNamespace(iterator=lambda _size: iter(["b", "a"])))
    restore = SimpleNamespace(entries=SimpleNamespace(order_by=lambda _index: rows), names_sha256="1" * 64)
    with pytest.raises(moves.RestoreRefused) as refused:
        moves.insist_names(cast("Any", restore))
    assert str(refused.value) == "The list of keys changed after it was fixed. Have the database checked."
