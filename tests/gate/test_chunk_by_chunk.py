"""The order of a deletion: what comes before its first chunk, which chunk is next, and what it waits for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit import log
from audit.models import Entry as Recorded
from backups import chunks, contradictions, deletion, manifest
from backups.current import Verdict, frozen
from backups.models import CleanupChunk, CleanupException, CleanupRequest, CleanupStage, GenerationEntry
from backups.r2 import StoreUnavailable
from kvops import clock, emergency, runs, skew, timing
from kvops import contradictions as guard
from kvops.leases import Again, Lease, RunError, Stopped, TryLater
from kvops.models import Environment, Read, Run, Skew
from tests import make
from tests.gate import world as gate
from tests.gate.executing import Kv, now
from tests.gate.world import NAMES, World

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 60.0)
    monkeypatch.setattr(timing, "STALE", 300.0)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The time, which stands still."""
    moment = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: moment)
    return moment


@pytest.fixture
def mine(stage: CleanupStage, lease: Lease, kv: Kv) -> deletion._Deletion:
    """The deletion of QA; its copy is old enough."""
    return deletion_of(stage, lease, kv)


def deletion_of(stage: CleanupStage, lease: Lease, kv: Kv) -> deletion._Deletion:
    related = ("environment", "namespace", "request__family", "generation", "approval")
    found = deletion._Deletion(CleanupStage.objects.select_related(*related).get(pk=stage.pk), lease, kv.clients())
    found.generation.finished_at = clock.now() - timedelta(hours=1)
    lease.run.cursor = {"phase": "delete"}
    return found


@pytest.fixture
def production(world: World, request_: CleanupRequest, kv: Kv) -> deletion._Deletion:
    """The deletion of production, after QA was accepted."""
    gate.accepted(world, request_)
    stage = gate.started(world, request_, "production")
    return deletion_of(stage, gate.lease_of(stage), kv)


def chunk_of(
    mine: deletion._Deletion, state: str = "planned", *, number: int = 1, first: int = 0, last: int = 0, **more: object
) -> CleanupChunk:
    """A chunk of the stage past the triggers."""
    found = CleanupChunk.objects.create(stage=mine.stage, number=number, first_index=first, last_index=last)
    sent = {} if state == "planned" else {"names": 1, "names_sha256": "0" * 64, "intended_at": Now()}
    gate.tampered(found, state=state, **{**sent, **more})
    return now(found)


def run_of(mine: deletion._Deletion) -> Run:
    return Run.objects.get(pk=mine.lease.run.pk)


# Before the first chunk


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What D1 and the bucket were asked before the first chunk."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr("backups.guards.look", lambda *what: found.append(("guards", *what)))

    def recheck(*what: object) -> SimpleNamespace:
        found.append(("recheck", *what))
        return SimpleNamespace(outcome="passed")

    monkeypatch.setattr("backups.integrity.recheck", recheck)
    return found


APART = "Waiting: between the copy and the last reads lie five minutes."


@pytest.mark.parametrize("wait", [100.0, 0.5])
def test_between_the_copy_and_the_reads_lie_five_minutes(
    mine: deletion._Deletion, at: datetime, looked: list[tuple[object, ...]], wait: float
) -> None:
    mine.generation.finished_at = at - timedelta(seconds=300 - wait)
    assert (mine.begin(), looked) == (Again(wait, APART), [])


@pytest.mark.parametrize("finished", [timedelta(seconds=300), None])
def test_after_five_minutes_it_begins(
    mine: deletion._Deletion, at: datetime, looked: list[tuple[object, ...]], finished: timedelta | None
) -> None:
    mine.generation.finished_at = at - finished if finished else None
    assert mine.begin() is None
    assert [what for what, *_ in looked] == ["recheck", "guards"]


def test_d1_and_the_bucket_are_asked_about_this_copy(
    mine: deletion._Deletion, looked: list[tuple[object, ...]]
) -> None:
    mine.begin()
    assert looked == [("recheck", mine.lease, mine.generation), ("guards", mine.stage.environment, mine.lease.keep)]


@pytest.mark.parametrize("category", ["cache", "settings"])
def test_what_is_not_in_d1_is_not_compared_with_it(
    mine: deletion._Deletion, looked: list[tuple[object, ...]], category: str
) -> None:
    mine.stage.request.category = category
    mine.begin()
    assert [what for what, *_ in looked] == ["guards"]


def test_a_comparison_that_is_not_over_goes_on(mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.integrity.recheck", lambda *_: None)
    assert mine.begin() == Again()
    assert (mine.lease.over, mine.lease.run.cursor) == (False, {"phase": "delete"})


@pytest.mark.hazard("B10")
@pytest.mark.parametrize("outcome", ["failed", "pending"])
def test_a_difference_with_d1_stops_it(mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    check = SimpleNamespace(outcome=outcome, pk=7, differences=2)
    monkeypatch.setattr("backups.integrity.recheck", lambda *_: check)
    with pytest.raises(RunError) as refused:
        mine.begin()
    assert (refused.value.code, str(refused.value)) == (
        "differences",
        (
            "Check 7, right before the start, found 2 differences with D1."
            " Nothing was deleted. Correct them and try again."
        ),
    )


def test_then_it_deletes_in_another_step_with_its_starts_and_tries_counted_anew(
    mine: deletion._Deletion, at: datetime, looked: list[tuple[object, ...]]
) -> None:
    Run.objects.filter(pk=mine.lease.run.pk).update(starts=2, tries=3)
    mine.lease.run.cursor = {"phase": "begin", "go_on": "x"}
    mine.begin()
    run = run_of(mine)
    assert run.cursor == {"phase": "delete", "go_on": "x", "checked_at": at.isoformat()}
    assert (run.owner, run.starts, run.tries, run.note) == ("", 0, 0, "Checked; deleting.")


# Which chunk is next


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, 3, 2)])
def test_what_is_planned_comes_in_the_order_of_the_names(mine: deletion._Deletion, numbers: tuple[int, ...]) -> None:
    made = {number: chunk_of(mine, number=number, first=2 // number, last=2) for number in numbers}
    for number in (3, 2, 1):
        assert mine._next() == made[number]
        gate.tampered(made[number], state="settled", names_sha256="0" * 64)


@pytest.mark.parametrize(("cursor", "last"), [({}, 2), ({"most": 2}, 1)])
def test_a_new_chunk_is_as_large_as_proved_small_enough(
    mine: deletion._Deletion, cursor: dict[str, object], last: int
) -> None:
    mine.lease.run.cursor = cursor
    chunk = mine._next()
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (0, last)


def test_nothing_is_sent_of_a_deletion_that_was_ended(mine: deletion._Deletion) -> None:
    chunk_of(mine)
    mine.lease.run.cursor = {"phase": "delete", "ending": True}
    assert mine._next() is None


Doubts = dict[str, bool]


@pytest.mark.parametrize(
    ("state", "elsewhere", "doubts", "is_doubtful"),
    [
        ("intended", 0, {}, True),
        ("intended", 0, {"everything": True}, True),
        ("intended", 0, {"all_sent": True}, True),
        ("sent", 1, {}, False),
        ("sent", 0, {"everything": True}, True),
        ("sent", 0, {"all_sent": True}, False),
        ("sent", 1, {"all_sent": True}, True),
        ("planned", 1, {"everything": True, "all_sent": True}, False),
        ("settled", 1, {"everything": True, "all_sent": True}, False),
    ],
)
def test_what_is_not_known_is_doubtful(
    mine: deletion._Deletion, state: str, elsewhere: int, doubts: Doubts, *, is_doubtful: bool
) -> None:
    chunk = chunk_of(mine, state, answer={"not_everywhere": elsewhere})
    assert mine._doubtful(**doubts) == (chunk if is_doubtful else None)


def test_of_two_the_first_is_settled_first(mine: deletion._Deletion) -> None:
    _, first = (chunk_of(mine, "intended", number=number) for number in (2, 1))
    assert mine._doubtful() == first


# Reading what became of a chunk


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[CleanupChunk]:
    """The chunks that were settled by reading."""
    found: list[CleanupChunk] = []

    def settle(_: object, chunk: CleanupChunk) -> None:
        found.append(chunk)
        gate.tampered(chunk, state="settled")

    monkeypatch.setattr("backups.sending.Sender.settle_by_reading", settle)
    return found


READING = "Waiting to read again what became of the keys that were sent."


@pytest.mark.parametrize("how", [(1, {}, 60.0), (2, {}, 60.0), (3, {}, 300.0), (1, {"ending": True}, 300.0)])
@pytest.mark.parametrize("left", [50.0, 0.5])
def test_what_was_sent_is_read_when_it_can_be_seen(
    mine: deletion._Deletion, at: datetime, how: tuple[int, dict[str, object], float], left: float
) -> None:
    attempt, cursor, wait = how
    mine.lease.run.cursor = {"phase": "delete", **cursor}
    chunk_of(mine, "intended", attempt=attempt, intended_at=at - timedelta(seconds=wait - left))
    assert (mine.delete(), mine.stage.chunks.count()) == (Again(left, READING), 1)


def test_it_is_counted_from_when_it_was_sent(production: deletion._Deletion, at: datetime) -> None:
    before = at - timedelta(seconds=30)
    chunk_of(production, "sent", intended_at=before, sent_at=at - timedelta(seconds=20))
    assert production.delete() == Again(40.0, READING)


def test_once_it_was_read_the_next_is_sent(
    mine: deletion._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    chunk = chunk_of(mine, "intended", intended_at=at - timedelta(seconds=60))
    mine.delete()
    assert (settled, [names for _, names in kv.sent]) == ([chunk], [list(NAMES[1:])])


def test_what_is_not_gone_everywhere_is_read_after_the_rest_was_sent(
    mine: deletion._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    before = at - timedelta(seconds=60)
    chunk = chunk_of(mine, "sent", answer={"not_everywhere": 1}, intended_at=before, sent_at=before)
    kv.before_delete = lambda: order.append(len(settled))
    order: list[int] = []
    mine.delete()
    assert (order, settled) == ([0], [chunk])


# An emergency stop


def test_under_a_stop_what_was_sent_is_read_and_nothing_is_planned(
    world: World, mine: deletion._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    long_ago = at - timedelta(hours=1)
    chunk = chunk_of(mine, "sent", intended_at=long_ago, sent_at=long_ago)
    emergency.press(mine.stage.environment, by=world.people.auditor)
    with pytest.raises(Stopped):
        mine.delete()
    assert (settled, kv.sent, mine.stage.chunks.count()) == ([chunk], [], 1)


def test_a_stop_that_is_released_meanwhile_lets_it_go_on(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, kv: Kv
) -> None:
    stops = iter(["a stop"])
    monkeypatch.setattr("kvops.emergency.in_force", lambda _: next(stops, None))
    mine.delete()
    assert len(kv.sent) == 1


# To the end


GONE = "Nothing is left to send; waiting to see what was sent gone."


def test_all_names_are_sent_and_then_it_waits(mine: deletion._Deletion, kv: Kv) -> None:
    mine.lease.run.cursor = {"phase": "delete", "most": 2, "go_on": "x"}
    assert mine.delete() is None
    run = run_of(mine)
    assert [names for _, names in kv.sent] == [list(NAMES[:2]), [NAMES[2]]]
    assert (run.owner, run.note, run.cursor) == ("", GONE, {"phase": "settle", "most": 2, "go_on": "x"})
    assert run.wake_at is not None
    assert 50 < clock.seconds_until(run.wake_at) <= 60


@pytest.mark.parametrize(("state", "least"), [("sent", 290), ("settled", 50)])
def test_after_a_third_try_it_waits_longer(mine: deletion._Deletion, state: str, least: int) -> None:
    chunk_of(mine, state, last=2, attempt=3, sent_at=Now())
    mine.delete()
    wake_at = run_of(mine).wake_at
    assert wake_at is not None
    assert least < clock.seconds_until(wake_at) <= least + 10


def test_a_step_that_is_over_sends_nothing_more(mine: deletion._Deletion, kv: Kv) -> None:
    mine.lease._step_until = 0.0
    assert (mine.delete(), kv.sent) == (Again(), [])


# Production's first chunk


FIRST = "The first keys are gone. Look at the application, then let the run go on."


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "FIRST_CHUNK", 1)


@pytest.mark.usefixtures("small")
def test_production_sends_one_chunk_and_looks_what_became_of_it(production: deletion._Deletion, kv: Kv) -> None:
    wait = production.delete()
    assert wait is not None
    assert (wait.note, [names for _, names in kv.sent]) == (READING, [[NAMES[0]]])


def test_then_it_waits_for_a_person(production: deletion._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    with log.transaction():
        other = runs.create(Run.Kind.SCAN, subject="namespace:2", label="y", actor=make.SETUP)
    assert (production.delete(), kv.sent) == (Again(), [])
    run = run_of(production)
    assert (run.cursor, run.note) == ({"phase": "delete", "waits": True}, FIRST)
    assert run.stop_requested_by == "system:first-chunk"
    assert Run.objects.get(pk=other.pk).stop_requested_by == ""
    entry = Recorded.objects.get(action="run.stop_requested")
    assert (entry.actor, entry.environment, entry.subject) == ("system:first-chunk", "production", f"run:{run.pk}")


@pytest.mark.parametrize("nothing", [{"names": 0}, {"answer": {"unsent": True}}])
def test_it_does_not_wait_before_something_was_sent(
    production: deletion._Deletion, kv: Kv, nothing: dict[str, Any]
) -> None:
    chunk_of(production, "settled", **nothing)
    production.delete()
    assert [names for _, names in kv.sent] == [list(NAMES[1:])]


def test_the_first_chunk_s_survivors_are_sent_again_first(production: deletion._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    chunk_of(production, number=2, attempt=2)
    alive(production, 0)
    production.delete()
    assert [names for _, names in kv.sent] == [[NAMES[0]]]


def alive(mine: deletion._Deletion, *indexes: int, outcome: str = "alive") -> None:
    CleanupException.objects.bulk_create(
        CleanupException(stage=mine.stage, index=index, name=NAMES[index], outcome=outcome) for index in indexes
    )


# The size of a chunk


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"FIRST_CHUNK": 1, "CHUNK": 2, "EXACT_CHUNK": 3}.items():
        monkeypatch.setattr(chunks, name, size)


@pytest.mark.usefixtures("sized")
def test_chunks_are_small_until_one_was_sent(mine: deletion._Deletion) -> None:
    first = chunks.plan(mine.stage, 3)
    assert first is not None
    assert (first.number, first.first_index, first.last_index) == (1, 0, 0)
    gate.tampered(first, state="sent", names=1, names_sha256="0" * 64)
    second = chunks.plan(mine.stage, 3)
    assert second is not None
    assert (second.number, second.first_index, second.last_index) == (2, 1, 2)
    assert chunks.plan(mine.stage, 3) is None


@pytest.mark.usefixtures("sized")
def test_what_is_larger_than_the_run_proved_possible_is_not_planned(mine: deletion._Deletion) -> None:
    chunk_of(mine, "sent")
    chunk = chunks.plan(mine.stage, 1)
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (1, 1)


@pytest.mark.usefixtures("sized")
def test_on_a_free_plan_all_are_small(mine: deletion._Deletion) -> None:
    chunk_of(mine, "sent")
    mine.stage.environment.plan = Environment.Plan.FREE
    chunk = chunks.plan(mine.stage, 3)
    assert chunk is not None
    assert chunk.last_index == 1


@pytest.mark.usefixtures("sized")
def test_what_is_read_exactly_has_a_size_of_its_own(mine: deletion._Deletion) -> None:
    assert mine.stage.generation is not None
    mine.stage.generation.read = Read.EXACT
    chunk = chunks.plan(mine.stage, 3)
    assert chunk is not None
    assert chunk.last_index == 2


@pytest.mark.parametrize(("most", "last"), [(1, 0), (3, 0), (4, 1), (5, 1), (6, 2)])
def test_a_chunk_is_small_in_bytes_too(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, most: int, last: int
) -> None:
    """Each value has two bytes; one that is too large goes by itself."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", most)
    chunk = chunks.plan(mine.stage)
    assert chunk is not None
    assert chunk.last_index == last


def test_what_was_dealt_with_takes_no_room(mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4)
    chunk_of(mine, "settled")
    chunk = chunks.plan(mine.stage)
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (1, 2)


def test_a_name_that_was_not_copied_takes_no_room(mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4)
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=mine.generation, index=1).update(size=None)
    chunk = chunks.plan(mine.stage)
    assert chunk is not None
    assert chunk.last_index == 2


def test_the_sizes_are_those_of_the_stage_s_copy(
    world: World, mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 6)
    gate.tampered(mine.stage.request, ended_at=Now())
    other = gate.checked(gate.asked(world)).generation
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=other).update(size=7)
    chunk = chunks.plan(mine.stage)
    assert chunk is not None
    assert chunk.last_index == 2


@pytest.mark.parametrize("what", ["size", "outcome"])
def test_of_a_million_copied_keys_only_those_of_the_chunk_are_looked_at(mine: deletion._Deletion, what: str) -> None:
    chunk = chunk_of(mine)
    with CaptureQueriesContext(connection) as asked:
        chunks.plan(mine.stage)
        chunks.except_uncopied(chunk)
    [copied] = [query["sql"] for query in asked.captured_queries if f'"{what}"' in query["sql"]]
    assert copied.count('"name" IN (SELECT') == (1 if what == "size" else 2)


def test_without_a_copy_nothing_is_planned(mine: deletion._Deletion) -> None:
    mine.stage.generation = None
    assert chunks.plan(mine.stage) is None


# What a chunk may send


def names_of(chunk: CleanupChunk) -> list[str]:
    return [entry.name for entry in chunks.names_of(chunk)]


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 1), (1, 2)])
def test_a_chunk_sends_its_range(mine: deletion._Deletion, first: int, last: int) -> None:
    assert names_of(chunk_of(mine, first=first, last=last)) == list(NAMES[first : last + 1])


def test_what_is_excepted_is_not_sent(mine: deletion._Deletion) -> None:
    alive(mine, 1, outcome="changed")
    assert names_of(chunk_of(mine, last=2)) == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("attempt", [2, 3])
def test_a_retry_sends_what_was_found_alive_in_its_range(mine: deletion._Deletion, attempt: int) -> None:
    alive(mine, 0, 1)
    alive(mine, 2, outcome="reappeared")
    assert names_of(chunk_of(mine, first=1, last=2, attempt=attempt)) == [NAMES[1]]
    assert names_of(chunk_of(mine, number=2, attempt=attempt)) == [NAMES[0]]


NOW = 2_000_000_000
COMPARED: list[tuple[int, Verdict, int | None, str | None]] = [
    (1, Verdict.EQUAL, None, None),
    (1, Verdict.DIFFERENT, None, "changed"),
    (1, Verdict.ABSENT, None, "vanished"),
    (1, Verdict.ABSENT, NOW + 1, "vanished"),
    (1, Verdict.ABSENT, NOW, "expired"),
    (1, Verdict.ABSENT, NOW - 1, "expired"),
    (2, Verdict.EQUAL, None, None),
    (2, Verdict.DIFFERENT, None, "reappeared"),
    (2, Verdict.ABSENT, None, None),
]


@pytest.mark.parametrize(("attempt", "verdict", "expiration", "outcome"), COMPARED)
def test_what_is_not_sent_has_its_reason(
    mine: deletion._Deletion, attempt: int, verdict: Verdict, expiration: int | None, outcome: str | None
) -> None:
    chunk = chunk_of(mine, attempt=attempt)
    [entry] = frozen(mine.stage, [0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvops.clock.now", lambda: datetime.fromtimestamp(NOW, UTC))
        chunks.except_(chunk, {replace(entry, expiration=expiration): verdict})
    found = CleanupException.objects.values_list("chunk", "index", "name", "outcome")
    assert list(found) == ([(chunk.pk, 0, NAMES[0], outcome)] if outcome else [])


def test_what_is_tried_again_is_no_exception_any_more(mine: deletion._Deletion) -> None:
    alive(mine, 0, 1, 2)
    chunks.except_(chunk_of(mine, first=1, last=1, attempt=2), {})
    assert set(CleanupException.objects.values_list("index", flat=True)) == {0, 2}
    alive(mine, 1, outcome="reappeared")
    chunks.except_(chunk_of(mine, number=2, last=2, attempt=2), {})
    assert set(CleanupException.objects.values_list("index", flat=True)) == {1}


def test_one_name_is_excepted_for_one_stage(world: World, mine: deletion._Deletion) -> None:
    alive(mine, 0)
    gate.tampered(mine.stage.request, ended_at=Now())
    other = gate.started(world, gate.asked(world))
    chunk = CleanupChunk.objects.create(stage=other, number=1, attempt=2, first_index=0, last_index=2)
    chunks.except_(chunk, {})
    assert (names_of(chunk), CleanupException.objects.count()) == ([], 1)


@pytest.mark.hazard("B15")
def test_what_expired_while_it_was_copied_is_never_sent(mine: deletion._Deletion) -> None:
    """The first has no row in the copy, the second one that says that it expired."""
    copied = GenerationEntry.objects.filter(generation=mine.generation)
    with gate.past_the_triggers():
        copied.filter(index=0).delete()
        copied.filter(index=1).update(outcome="expired", digest=None, size=None)
    for number, index in enumerate((2, 0), 1):
        chunks.except_uncopied(chunk_of(mine, number=number, first=index, last=index))
    assert expired() == [(2, 0, NAMES[0])]
    chunks.except_uncopied(chunk_of(mine, number=3, last=2))
    assert expired() == [(2, 0, NAMES[0]), (3, 1, NAMES[1])]


def expired() -> list[tuple[int, int, str]]:
    """The chunk, the index and the name of each that expired."""
    found = CleanupException.objects.filter(outcome="expired").order_by("index")
    return list(found.values_list("chunk__number", "index", "name"))


def test_another_copy_of_the_names_is_none_of_the_stage(world: World, mine: deletion._Deletion) -> None:
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=mine.generation, index=1).delete()
    gate.tampered(mine.stage.request, ended_at=Now())
    gate.checked(gate.asked(world))
    chunks.except_uncopied(chunk_of(mine, last=2))
    assert list(CleanupException.objects.values_list("index", flat=True)) == [1]


# Chunks in place of others


def ranges(mine: deletion._Deletion) -> list[tuple[int, int, int, int]]:
    found = mine.stage.chunks.filter(state="planned").order_by("number")
    return list(found.values_list("number", "attempt", "first_index", "last_index"))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 2, [(0, 1), (2, 2)]), (1, 2, [(1, 1), (2, 2)]), (0, 3, [(0, 1), (2, 3)]), (2, 2, [(2, 2)])],
)
def test_two_halves_are_the_whole(
    mine: deletion._Deletion, first: int, last: int, expected: list[tuple[int, int]]
) -> None:
    chunk = chunk_of(mine, first=first, last=last, attempt=2)
    assert chunks.halves(chunk) == expected
    chunks.halve(chunk)
    assert ranges(mine) == [(number, 2, *span) for number, span in enumerate(expected, 2)]
    left = now(chunk)
    assert (left.state, left.settled_at is None, left.names_sha256) == ("settled", False, manifest.names_sha256([]))


@pytest.mark.parametrize("state", ["intended", "sent"])
def test_only_what_is_planned_is_left(mine: deletion._Deletion, state: str) -> None:
    chunk, other = chunk_of(mine, state), chunk_of(mine, number=2)
    chunks.leave(chunk)
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
    mine: deletion._Deletion, state: str, more: dict[str, Any], *, may_have_deleted: bool
) -> None:
    chunk = chunk_of(mine, state, **more)
    assert list(chunks.sent(mine.stage)) == ([chunk] if may_have_deleted else [])


# The record in the bucket, and the clocks


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Environment]:
    """The environments whose buckets were looked into; no process has looked yet, and the clocks agree."""
    found: list[Environment] = []
    monkeypatch.setattr(contradictions, "_looked", {})
    monkeypatch.setattr(contradictions, "read", found.append)
    return found


def looked_ago(mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """This process looked into the bucket so long ago."""
    monkeypatch.setattr(contradictions, "time", SimpleNamespace(monotonic=lambda: 1_000.0))
    contradictions._looked[contradictions._key(mine.stage.environment)] = 1_000.0 - seconds


@pytest.mark.hazard("B32")
def test_a_process_that_never_looked_into_the_bucket_does(mine: deletion._Deletion, reads: list[Environment]) -> None:
    contradictions.insist_none(mine.stage.environment)
    assert reads == [mine.stage.environment]


@pytest.mark.parametrize(("later", "again"), [(-1.0, False), (0.0, False), (1.0, True)])
def test_it_looks_again_after_a_while(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment], later: float, *, again: bool
) -> None:
    looked_ago(mine, monkeypatch, timing.LOOK + later)
    contradictions.insist_none(mine.stage.environment)
    assert len(reads) == again


@pytest.mark.hazard("B20")
def test_clocks_that_are_apart_are_asked_again_and_stop_it(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    looked_ago(mine, monkeypatch, 0.0)
    asked: list[tuple[object, ...]] = []

    def why(*what: object) -> str:
        asked.append(what)
        return "apart"

    monkeypatch.setattr("kvops.skew.why", why)
    with pytest.raises(RunError, match=r"^apart$") as refused:
        contradictions.insist_none(mine.stage.environment)
    assert (refused.value.code, reads) == (skew.CODE, [mine.stage.environment])
    assert asked == 2 * [(mine.stage.environment, Skew.Service.R2)]


def test_clocks_that_agree_again_stop_nothing(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    looked_ago(mine, monkeypatch, 0.0)
    said = iter(["apart"])
    monkeypatch.setattr("kvops.skew.why", lambda *_: next(said, ""))
    contradictions.insist_none(mine.stage.environment)
    assert len(reads) == 1


@pytest.mark.hazard("B32")
def test_a_database_that_contradicts_the_bucket_stops_it(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    monkeypatch.setattr("kvops.contradictions.why", lambda: "older than its bucket")
    with pytest.raises(Stopped, match=r"^older than its bucket$") as stopped:
        contradictions.insist_none(mine.stage.environment)
    assert stopped.value.code == guard.CODE


def test_a_bucket_that_does_not_answer_lets_nothing_begin(
    mine: deletion._Deletion, monkeypatch: pytest.MonkeyPatch, reads: list[Environment]
) -> None:
    def silent(_: Environment) -> None:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(contradictions, "read", silent)
    with pytest.raises(TryLater):
        contradictions.insist_none(mine.stage.environment)
