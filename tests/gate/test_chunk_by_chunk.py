"""The order of a deletion: what comes before its first chunk, which chunk is next, and what it waits for."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now

from audit import log
from audit.models import Entry as AuditEntry
from backups.deletion import chunks as deletion_chunks, run as deletion_run
from backups.models import CleanupChunk
from kvops import clock, timing
from kvops.models import Role, Run
from kvops.runs import driver as run_driver, emergency
from kvops.runs.outcomes import Again, RunError, Stopped
from tests import make
from tests.gate import world as gate
from tests.gate.executing import Kv, alive, chunk_of
from tests.gate.world import NAMES, GateWorld

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


def run_of(mine: deletion_run._Deletion) -> Run:
    return Run.objects.get(pk=mine.lease.run.pk)


# Before the first chunk


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What D1 and the bucket were asked before the first chunk."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "backups.bucket.protection.ask_cloudflare", lambda *what: found.append(("bucket_protection", *what))
    )

    def recheck(*what: object) -> SimpleNamespace:
        found.append(("recheck", *what))
        return SimpleNamespace(outcome="passed")

    monkeypatch.setattr("backups.integrity.start.recheck", recheck)
    return found


APART = "Waiting: the last reads start five minutes after the backup."


@pytest.mark.parametrize("wait", [100.0, 0.5])
def test_between_the_backup_and_the_reads_lie_five_minutes(
    mine: deletion_run._Deletion, at: datetime, looked: list[tuple[object, ...]], wait: float
) -> None:
    mine.generation.finished_at = at - timedelta(seconds=300 - wait)
    assert (mine.begin(), looked) == (Again(wait, APART), [])


@pytest.mark.parametrize("finished", [timedelta(seconds=300), None])
def test_after_five_minutes_it_begins(
    mine: deletion_run._Deletion, at: datetime, looked: list[tuple[object, ...]], finished: timedelta | None
) -> None:
    mine.generation.finished_at = at - finished if finished else None
    assert mine.begin() is None
    assert [what for what, *_ in looked] == ["recheck", "bucket_protection"]


def test_d1_and_the_bucket_are_asked_about_this_backup(
    mine: deletion_run._Deletion, looked: list[tuple[object, ...]]
) -> None:
    mine.begin()
    assert looked == [
        ("recheck", mine.lease, mine.generation),
        ("bucket_protection", mine.stage.environment, mine.lease.keep),
    ]


@pytest.mark.parametrize("category", ["cache", "settings"])
def test_what_is_not_in_d1_is_not_compared_with_it(
    mine: deletion_run._Deletion, looked: list[tuple[object, ...]], category: str
) -> None:
    mine.stage.request.category = category
    mine.begin()
    assert [what for what, *_ in looked] == ["bucket_protection"]


def test_a_comparison_that_is_not_over_goes_on(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: None)
    assert mine.begin() == Again()
    assert (mine.lease.over, mine.lease.run.cursor) == (False, {"phase": "delete"})


@pytest.mark.hazard("B10")
@pytest.mark.parametrize("outcome", ["failed", "pending"])
def test_a_difference_with_d1_stops_it(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    check = SimpleNamespace(outcome=outcome, pk=7, differences=2)
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: check)
    with pytest.raises(RunError) as refused:
        mine.begin()
    assert (refused.value.code, str(refused.value)) == (
        "differences",
        (
            "Check 7, right before deleting, found differences with D1: 2."
            " Nothing was deleted. Correct them and try again."
        ),
    )


def test_a_difference_after_something_was_sent_does_not_say_that_nothing_was_deleted(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk_of(mine, "sent")
    check = SimpleNamespace(outcome="failed", pk=7, differences=2)
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: check)
    with pytest.raises(RunError) as refused:
        mine.begin()
    assert str(refused.value) == (
        "Check 7, right before deleting, found differences with D1: 2."
        " Nothing more was deleted. Correct them and try again."
    )


def test_then_it_deletes_in_another_step_with_its_starts_and_tries_counted_anew(
    mine: deletion_run._Deletion, at: datetime, looked: list[tuple[object, ...]]
) -> None:
    Run.objects.filter(pk=mine.lease.run.pk).update(starts=2, tries=3)
    mine.lease.run.cursor = {"phase": "begin", "go_on": "x"}
    mine.begin()
    run = run_of(mine)
    assert run.cursor == {"phase": "delete", "go_on": "x", "checked_at": at.isoformat()}
    assert (run.owner, run.starts, run.tries, run.note) == ("", 0, 0, "Checked; deleting.")


# Which chunk is next


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, 3, 2)])
def test_what_is_planned_comes_in_the_order_of_the_names(
    mine: deletion_run._Deletion, numbers: tuple[int, ...]
) -> None:
    made = {number: chunk_of(mine, number=number, first=2 // number, last=2) for number in numbers}
    for number in (3, 2, 1):
        assert mine._next() == made[number]
        gate.tampered(made[number], state="settled", names_sha256="0" * 64)


@pytest.mark.parametrize(("cursor", "last"), [({}, 2), ({"most": 2}, 1)])
def test_a_new_chunk_is_as_large_as_proved_small_enough(
    mine: deletion_run._Deletion, cursor: dict[str, object], last: int
) -> None:
    mine.lease.run.cursor = cursor
    chunk = mine._next()
    assert chunk is not None
    assert (chunk.first_index, chunk.last_index) == (0, last)


def test_that_nothing_is_left_to_plan_is_no_step_forward(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "sent", last=2)
    Run.objects.filter(pk=mine.lease.run.pk).update(starts=2, tries=3)
    assert mine._next() is None
    run = run_of(mine)
    assert (run.starts, run.tries) == (2, 3)


def test_nothing_is_sent_of_a_deletion_that_was_ended(mine: deletion_run._Deletion) -> None:
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
    mine: deletion_run._Deletion, state: str, elsewhere: int, doubts: Doubts, *, is_doubtful: bool
) -> None:
    chunk = chunk_of(mine, state, answer={"not_everywhere": elsewhere})
    assert mine._doubtful(**doubts) == (chunk if is_doubtful else None)


def test_of_two_the_first_is_settled_first(mine: deletion_run._Deletion) -> None:
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

    monkeypatch.setattr("backups.deletion.send.Sender.settle_by_reading", settle)
    return found


READING = "Waiting to read the result for the sent keys again."


@pytest.mark.parametrize("how", [(1, {}, 60.0), (2, {}, 60.0), (3, {}, 300.0), (1, {"ending": True}, 300.0)])
@pytest.mark.parametrize("left", [50.0, 0.5])
def test_what_was_sent_is_read_when_it_can_be_seen(
    mine: deletion_run._Deletion, at: datetime, how: tuple[int, dict[str, object], float], left: float
) -> None:
    attempt, cursor, wait = how
    mine.lease.run.cursor = {"phase": "delete", **cursor}
    chunk_of(mine, "intended", attempt=attempt, intended_at=at - timedelta(seconds=wait - left))
    assert (mine.delete(), mine.stage.chunks.count()) == (Again(left, READING), 1)


def test_it_is_counted_from_when_it_was_sent(production: deletion_run._Deletion, at: datetime) -> None:
    before = at - timedelta(seconds=30)
    chunk_of(production, "sent", intended_at=before, sent_at=at - timedelta(seconds=20))
    assert production.delete() == Again(40.0, READING)


def test_once_it_was_read_the_next_is_sent(
    mine: deletion_run._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    chunk = chunk_of(mine, "intended", intended_at=at - timedelta(seconds=60))
    mine.delete()
    assert (settled, [names for _, names in kv.sent]) == ([chunk], [list(NAMES[1:])])


def test_what_is_not_gone_everywhere_is_read_after_the_rest_was_sent(
    mine: deletion_run._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    before = at - timedelta(seconds=60)
    chunk = chunk_of(mine, "sent", answer={"not_everywhere": 1}, intended_at=before, sent_at=before)
    kv.before_delete = lambda: order.append(len(settled))
    order: list[int] = []
    mine.delete()
    assert (order, settled) == ([0], [chunk])


# An emergency stop


def test_under_a_stop_what_was_sent_is_read_and_nothing_is_planned(
    world: GateWorld, mine: deletion_run._Deletion, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    long_ago = at - timedelta(hours=1)
    chunk = chunk_of(mine, "sent", intended_at=long_ago, sent_at=long_ago)
    emergency.press(mine.stage.environment, by=world.people.auditor)
    with pytest.raises(Stopped):
        mine.delete()
    assert (settled, kv.sent, mine.stage.chunks.count()) == ([chunk], [], 1)


def test_a_stop_pressed_after_the_look_leaves_nothing_unsettled(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, at: datetime, settled: list[CleanupChunk], kv: Kv
) -> None:
    before = at - timedelta(seconds=60)
    chunk = chunk_of(mine, "sent", intended_at=before, sent_at=before)

    def press(*_: object) -> None:
        emergency.press(mine.stage.environment, by=make.person("another", Role.AUDITOR))
        emergency.insist_none(mine.stage.environment)

    monkeypatch.setattr("kvops.approvals.gate.still_valid", press)
    with pytest.raises(Stopped) as stopped:
        mine.delete()
    assert (stopped.value.code, settled, kv.sent) == (emergency.CODE, [chunk], [])


def test_what_else_stops_it_stops_it_at_once(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, kv: Kv
) -> None:
    def stop(*_: object) -> None:
        raise Stopped("restored_database", "older")

    monkeypatch.setattr("kvops.approvals.gate.still_valid", stop)
    with pytest.raises(Stopped, match="older"):
        mine.delete()
    assert kv.sent == []


def test_a_stop_that_is_released_meanwhile_lets_it_go_on(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, kv: Kv
) -> None:
    stops = iter(["a stop"])
    monkeypatch.setattr("kvops.runs.emergency.stop_in_force", lambda _: next(stops, None))
    mine.delete()
    assert len(kv.sent) == 1


# To the end


GONE = "All keys were sent; waiting for the deletions to take effect."


def test_all_names_are_sent_and_then_it_waits(mine: deletion_run._Deletion, kv: Kv) -> None:
    mine.lease.run.cursor = {"phase": "delete", "most": 2, "go_on": "x"}
    assert mine.delete() is None
    run = run_of(mine)
    assert [names for _, names in kv.sent] == [list(NAMES[:2]), [NAMES[2]]]
    assert (run.owner, run.note, run.cursor) == ("", GONE, {"phase": "settle", "most": 2, "go_on": "x"})
    assert run.wake_at is not None
    assert 50 < clock.seconds_until(run.wake_at) <= 60


@pytest.mark.parametrize(("state", "least"), [("sent", 290), ("settled", 50)])
def test_after_a_third_try_it_waits_longer(mine: deletion_run._Deletion, state: str, least: int) -> None:
    chunk_of(mine, state, last=2, attempt=3, sent_at=Now())
    mine.delete()
    wake_at = run_of(mine).wake_at
    assert wake_at is not None
    assert least < clock.seconds_until(wake_at) <= least + 10


def test_a_step_that_is_over_sends_nothing_more(mine: deletion_run._Deletion, kv: Kv) -> None:
    mine.lease._step_until = 0.0
    assert (mine.delete(), kv.sent) == (Again(), [])


# Production's first chunk


FIRST = "The first keys are gone. Check the application, then continue the run."


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)


@pytest.mark.usefixtures("small")
def test_production_sends_one_chunk_and_looks_what_became_of_it(production: deletion_run._Deletion, kv: Kv) -> None:
    wait = production.delete()
    assert wait is not None
    assert (wait.note, [names for _, names in kv.sent]) == (READING, [[NAMES[0]]])


def test_then_it_waits_for_a_person(production: deletion_run._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    with log.transaction():
        other = run_driver.create(Run.Kind.SCAN, subject="namespace:2", label="y", actor=make.SETUP)
    assert (production.delete(), kv.sent) == (Again(), [])
    run = run_of(production)
    assert (run.cursor, run.note) == ({"phase": "delete", "waits": True}, FIRST)
    assert run.stop_requested_by == "system:first-chunk"
    assert Run.objects.get(pk=other.pk).stop_requested_by == ""
    entry = AuditEntry.objects.get(action="run.stop_requested")
    assert (entry.actor, entry.environment, entry.subject) == ("system:first-chunk", "production", f"run:{run.pk}")


@pytest.mark.parametrize("nothing", [{"names": 0}, {"answer": {"unsent": True}}])
def test_it_does_not_wait_before_something_was_sent(
    production: deletion_run._Deletion, kv: Kv, nothing: dict[str, Any]
) -> None:
    chunk_of(production, "settled", **nothing)
    production.delete()
    assert [names for _, names in kv.sent] == [list(NAMES[1:])]


@pytest.mark.usefixtures("small")
def test_it_does_not_wait_after_a_chunk_of_which_nothing_is_gone(production: deletion_run._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    alive(production, 0, outcome="failed")
    production.delete()
    assert [names for _, names in kv.sent] == [[NAMES[1]]]


@pytest.mark.usefixtures("small")
def test_it_waits_when_somebody_wrote_again_what_was_deleted(production: deletion_run._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    alive(production, 0, outcome="reappeared")
    production.delete()
    assert (kv.sent, run_of(production).note) == ([], FIRST)


def test_the_first_chunk_s_survivors_are_sent_again_first(production: deletion_run._Deletion, kv: Kv) -> None:
    chunk_of(production, "settled")
    chunk_of(production, number=2, attempt=2)
    alive(production, 0)
    production.delete()
    assert [names for _, names in kv.sent] == [[NAMES[0]]]
