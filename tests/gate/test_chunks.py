"""Chunks of a deletion: how large they are, which names they send, and what takes their place."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from backups import archive
from backups.deletion import chunks as deletion_chunks, run as deletion_run
from backups.execution.live_digests import KeyVerdict, frozen
from backups.models import CleanupChunk, CleanupException, GenerationEntry
from kvops.models import Environment, Read
from tests.gate import world as gate
from tests.gate.executing import alive, chunk_of, now
from tests.gate.world import NAMES, GateWorld

pytestmark = pytest.mark.django_db


# The size of a chunk


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"FIRST_CHUNK": 1, "CHUNK": 2, "EXACT_CHUNK": 3}.items():
        monkeypatch.setattr(deletion_chunks, name, size)


@pytest.mark.usefixtures("sized")
def test_chunks_are_small_until_one_was_sent(mine: deletion_run._Deletion) -> None:
    first = deletion_chunks.next_chunk(mine.stage, 3)
    assert first is not None
    assert (first.number, first.first_index, first.last_index) == (1, 0, 0)
    gate.tampered(first, state="sent", names=1, names_sha256="0" * 64)
    second = deletion_chunks.next_chunk(mine.stage, 3)
    assert second is not None
    assert (second.number, second.first_index, second.last_index) == (2, 1, 2)
    assert deletion_chunks.next_chunk(mine.stage, 3) is None


@pytest.mark.usefixtures("sized")
def test_what_is_larger_than_the_run_proved_possible_is_not_planned(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "sent")
    chunk = deletion_chunks.next_chunk(mine.stage, 1)
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (1, 1)


@pytest.mark.usefixtures("sized")
def test_on_a_free_plan_all_are_small(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "sent")
    mine.stage.environment.plan = Environment.Plan.FREE
    chunk = deletion_chunks.next_chunk(mine.stage, 3)
    assert chunk is not None
    assert chunk.last_index == 1


@pytest.mark.usefixtures("sized")
def test_what_is_read_exactly_has_a_size_of_its_own(mine: deletion_run._Deletion) -> None:
    assert mine.stage.generation is not None
    mine.stage.generation.read = Read.EXACT
    chunk = deletion_chunks.next_chunk(mine.stage, 3)
    assert chunk is not None
    assert chunk.last_index == 2


@pytest.mark.parametrize(("most", "last"), [(1, 0), (3, 0), (4, 1), (5, 1), (6, 2)])
def test_a_chunk_is_small_in_bytes_too(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, most: int, last: int
) -> None:
    """Each value has two bytes; one that is too large goes by itself."""
    monkeypatch.setattr(deletion_chunks, "CHUNK_BYTES", most)
    chunk = deletion_chunks.next_chunk(mine.stage)
    assert chunk is not None
    assert chunk.last_index == last


def test_what_was_dealt_with_takes_no_room(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion_chunks, "CHUNK_BYTES", 4)
    chunk_of(mine, "settled")
    chunk = deletion_chunks.next_chunk(mine.stage)
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (1, 2)


def test_a_name_that_was_not_backed_up_takes_no_room(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "CHUNK_BYTES", 4)
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=mine.generation, index=1).update(size=None)
    chunk = deletion_chunks.next_chunk(mine.stage)
    assert chunk is not None
    assert chunk.last_index == 2


def test_the_sizes_are_those_of_the_stage_s_backup(
    world: GateWorld, mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "CHUNK_BYTES", 6)
    gate.tampered(mine.stage.request, ended_at=Now())
    other = gate.checked(gate.asked(world)).generation
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=other).update(size=7)
    chunk = deletion_chunks.next_chunk(mine.stage)
    assert chunk is not None
    assert chunk.last_index == 2


@pytest.mark.parametrize("what", ["size", "outcome"])
def test_of_a_million_backed_up_keys_only_those_of_the_chunk_are_looked_at(
    mine: deletion_run._Deletion, what: str
) -> None:
    chunk = chunk_of(mine)
    with CaptureQueriesContext(connection) as asked:
        deletion_chunks.next_chunk(mine.stage)
        deletion_chunks.except_not_backed_up(chunk)
    [backed_up] = [query["sql"] for query in asked.captured_queries if f'"{what}"' in query["sql"]]
    assert backed_up.count('"name" IN (SELECT') == (1 if what == "size" else 2)


def test_without_a_backup_nothing_is_planned(mine: deletion_run._Deletion) -> None:
    mine.stage.generation = None
    assert deletion_chunks.next_chunk(mine.stage) is None


# What a chunk may send


def names_of(chunk: CleanupChunk) -> list[str]:
    return [entry.name for entry in deletion_chunks.names_of(chunk)]


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 1), (1, 2)])
def test_a_chunk_sends_its_range(mine: deletion_run._Deletion, first: int, last: int) -> None:
    assert names_of(chunk_of(mine, first=first, last=last)) == list(NAMES[first : last + 1])


def test_what_is_excepted_is_not_sent(mine: deletion_run._Deletion) -> None:
    alive(mine, 1, outcome="changed")
    assert names_of(chunk_of(mine, last=2)) == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("attempt", [2, 3])
def test_a_retry_sends_what_was_found_alive_in_its_range(mine: deletion_run._Deletion, attempt: int) -> None:
    alive(mine, 0, 1)
    alive(mine, 2, outcome="reappeared")
    assert names_of(chunk_of(mine, first=1, last=2, attempt=attempt)) == [NAMES[1]]
    assert names_of(chunk_of(mine, number=2, attempt=attempt)) == [NAMES[0]]


NOW = 2_000_000_000
COMPARED: list[tuple[int, KeyVerdict, int | None, str | None]] = [
    (1, KeyVerdict.EQUAL, None, None),
    (1, KeyVerdict.DIFFERENT, None, "changed"),
    (1, KeyVerdict.ABSENT, None, "vanished"),
    (1, KeyVerdict.ABSENT, NOW + 1, "vanished"),
    (1, KeyVerdict.ABSENT, NOW, "expired"),
    (1, KeyVerdict.ABSENT, NOW - 1, "expired"),
    (2, KeyVerdict.EQUAL, None, None),
    (2, KeyVerdict.DIFFERENT, None, "reappeared"),
    (2, KeyVerdict.ABSENT, None, None),
]


@pytest.mark.parametrize(("attempt", "verdict", "expiration", "outcome"), COMPARED)
def test_what_is_not_sent_has_its_reason(
    mine: deletion_run._Deletion, attempt: int, verdict: KeyVerdict, expiration: int | None, outcome: str | None
) -> None:
    chunk = chunk_of(mine, attempt=attempt)
    [entry] = frozen(mine.stage, [0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvops.clock.now", lambda: datetime.fromtimestamp(NOW, UTC))
        deletion_chunks.except_(chunk, {replace(entry, expiration=expiration): verdict})
    found = CleanupException.objects.values_list("chunk", "index", "name", "outcome")
    assert list(found) == ([(chunk.pk, 0, NAMES[0], outcome)] if outcome else [])


def test_what_is_tried_again_is_no_exception_any_more(mine: deletion_run._Deletion) -> None:
    alive(mine, 0, 1, 2)
    deletion_chunks.except_(chunk_of(mine, first=1, last=1, attempt=2), {})
    assert set(CleanupException.objects.values_list("index", flat=True)) == {0, 2}
    alive(mine, 1, outcome="reappeared")
    deletion_chunks.except_(chunk_of(mine, number=2, last=2, attempt=2), {})
    assert set(CleanupException.objects.values_list("index", flat=True)) == {1}


def test_one_name_is_excepted_for_one_stage(world: GateWorld, mine: deletion_run._Deletion) -> None:
    alive(mine, 0)
    gate.tampered(mine.stage.request, ended_at=Now())
    other = gate.started(world, gate.asked(world))
    chunk = CleanupChunk.objects.create(stage=other, number=1, attempt=2, first_index=0, last_index=2)
    deletion_chunks.except_(chunk, {})
    assert (names_of(chunk), CleanupException.objects.count()) == ([], 1)


@pytest.mark.hazard("B15")
def test_what_expired_while_it_was_backed_up_is_never_sent(mine: deletion_run._Deletion) -> None:
    """The first has no row in the copy, the second one that says that it expired."""
    backed_up = GenerationEntry.objects.filter(generation=mine.generation)
    with gate.past_the_triggers():
        backed_up.filter(index=0).delete()
        backed_up.filter(index=1).update(outcome="expired", digest=None, size=None)
    for number, index in enumerate((2, 0), 1):
        deletion_chunks.except_not_backed_up(chunk_of(mine, number=number, first=index, last=index))
    assert expired() == [(2, 0, NAMES[0])]
    deletion_chunks.except_not_backed_up(chunk_of(mine, number=3, last=2))
    assert expired() == [(2, 0, NAMES[0]), (3, 1, NAMES[1])]


def expired() -> list[tuple[int, int, str]]:
    """The chunk, the index and the name of each that expired."""
    found = CleanupException.objects.filter(outcome="expired").order_by("index")
    return list(found.values_list("chunk__number", "index", "name"))


def test_another_backup_of_the_names_is_none_of_the_stage(world: GateWorld, mine: deletion_run._Deletion) -> None:
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=mine.generation, index=1).delete()
    gate.tampered(mine.stage.request, ended_at=Now())
    gate.checked(gate.asked(world))
    deletion_chunks.except_not_backed_up(chunk_of(mine, last=2))
    assert list(CleanupException.objects.values_list("index", flat=True)) == [1]


# Chunks in place of others


def ranges(mine: deletion_run._Deletion) -> list[tuple[int, int, int, int]]:
    found = mine.stage.chunks.filter(state="planned").order_by("number")
    return list(found.values_list("number", "attempt", "first_index", "last_index"))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 2, [(0, 1), (2, 2)]), (1, 2, [(1, 1), (2, 2)]), (0, 3, [(0, 1), (2, 3)]), (2, 2, [(2, 2)])],
)
def test_two_halves_are_the_whole(
    mine: deletion_run._Deletion, first: int, last: int, expected: list[tuple[int, int]]
) -> None:
    chunk = chunk_of(mine, first=first, last=last, attempt=2)
    assert deletion_chunks.halves(chunk) == expected
    deletion_chunks.halve(chunk)
    assert ranges(mine) == [(number, 2, *span) for number, span in enumerate(expected, 2)]
    left = now(chunk)
    assert (left.state, left.settled_at is None, left.names_sha256) == ("settled", False, archive.names_sha256([]))


@pytest.mark.parametrize("state", ["intended", "sent"])
def test_only_what_is_planned_is_left(mine: deletion_run._Deletion, state: str) -> None:
    chunk, other = chunk_of(mine, state), chunk_of(mine, number=2)
    deletion_chunks.leave(chunk)
    assert (now(chunk).state, now(other).state) == (state, "planned")


@pytest.mark.parametrize(
    ("state", "more", "may_have_deleted"),
    [
        ("sent", {}, True),
        ("settled", {}, True),
        ("settled", {"answer": {"unsent": True}}, False),
        ("settled", {"names": 0}, False),
        ("planned", {}, False),
    ],
)
def test_a_chunk_counts_as_sent_unless_it_surely_was_not(
    mine: deletion_run._Deletion, state: str, more: dict[str, Any], *, may_have_deleted: bool
) -> None:
    chunk = chunk_of(mine, state, **more)
    assert list(deletion_chunks.sent(mine.stage)) == ([chunk] if may_have_deleted else [])


@pytest.mark.parametrize(
    ("state", "last", "excepted", "is_gone"),
    [
        ("planned", 1, (), False),
        ("sent", 1, (), True),
        ("settled", 1, (0,), True),
        ("settled", 1, (1,), True),
        ("settled", 1, (0, 1), False),
        ("settled", 0, (1,), True),
    ],
)
def test_something_is_gone_once_a_name_had_its_turn_and_is_no_exception(
    mine: deletion_run._Deletion, state: str, last: int, excepted: tuple[int, ...], *, is_gone: bool
) -> None:
    chunk_of(mine, state, last=last)
    alive(mine, *excepted, outcome="failed")
    assert deletion_chunks.gone(mine.stage) is is_gone


@pytest.mark.parametrize(
    ("outcome", "answer", "is_gone"),
    [
        ("reappeared", {}, True),
        ("failed", {"done": 1}, True),
        ("failed", {"done": 0}, False),
        ("failed", {"done": 1, "unsent": True}, False),
    ],
)
def test_something_is_gone_that_was_written_again_or_that_cloudflare_said_was_deleted(
    mine: deletion_run._Deletion, outcome: str, answer: dict[str, object], *, is_gone: bool
) -> None:
    chunk_of(mine, "settled", answer=answer)
    alive(mine, 0, outcome=outcome)
    assert deletion_chunks.gone(mine.stage) is is_gone


def test_what_is_gone_of_another_stage_is_not_of_this_one(world: GateWorld, mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "settled")
    gate.tampered(mine.stage.request, ended_at=Now())
    other = gate.started(world, gate.asked(world))
    CleanupException.objects.create(stage=other, index=0, name=NAMES[0], outcome="failed")
    assert (deletion_chunks.gone(mine.stage), deletion_chunks.gone(other)) == (True, False)
