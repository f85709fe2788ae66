"""What a restore reads from its rows before it writes: names, chunks, deletions, and other work on the same keys."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from audit.models import Entry as AuditEntry
from backups import archive
from backups.deletion import run as deletion_run
from backups.models import CleanupChunk, Generation, Restore, RestoreChunk, RestoreEntry
from backups.restores import moves
from backups.restores.moves import RestoreRefused
from backups.restores.plan import ChunkPlan
from backups.restores.run import RestoreRun
from backups.restores.write import Putter
from kvops import clock, timing
from kvops.cloudflare import KvEntry
from kvops.models import Namespace
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError, Stopped
from tests.gate import world as gate
from tests.gate.world import NAMES, GateWorld

pytestmark = pytest.mark.django_db
Left, Compared, State = RestoreEntry.Outcome, RestoreEntry.Compared, RestoreChunk.State


def restore_of(mine: deletion_run._Deletion, namespace: Namespace | None = None, **values: Any) -> Restore:
    """A restore of three keys into the namespace, from the backup of the stage."""
    stage = mine.stage
    with gate.past_the_triggers():
        found = Restore.objects.create(
            environment=stage.environment, namespace=namespace or stage.namespace,
            generation=cast("Generation", stage.generation), prefix="master:", prepared_by="tests", names=3,
            names_sha256=archive.names_sha256(NAMES), **values,
        )  # fmt: skip
        RestoreEntry.objects.bulk_create(
            RestoreEntry(restore=found, index=index, name=name, size=2) for index, name in enumerate(NAMES)
        )
    return Restore.objects.get(pk=found.pk)


@pytest.fixture
def restore(mine: deletion_run._Deletion) -> Restore:
    return restore_of(mine)


def run_of(restore: Restore, lease: Lease, *, ending: bool = False) -> RestoreRun:
    found = RestoreRun.__new__(RestoreRun)
    found.restore, found.lease, found._ending = restore, lease, ending
    return found


def chunk_of(restore: Restore, number: int, first: int, last: int, **values: object) -> RestoreChunk:
    found = RestoreChunk.objects.create(restore=restore, number=number, first_index=first, last_index=last)
    with gate.past_the_triggers():
        RestoreChunk.objects.filter(pk=found.pk).update(names_sha256="0" * 64, **values)
    return RestoreChunk.objects.get(pk=found.pk)


def removed(model: type[CleanupChunk | RestoreChunk], **of: object) -> None:
    with gate.past_the_triggers():
        model.objects.filter(**of).delete()


# Names, and other work on them


def test_names_that_are_not_the_frozen_ones_are_noticed(restore: Restore) -> None:
    moves.insist_names(restore)
    with gate.past_the_triggers():
        restore.entries.filter(index=2).update(name="master:c:1")
    with pytest.raises(RestoreRefused, match="The list of keys changed after it was fixed"):
        moves.insist_names(restore)
    with gate.past_the_triggers():
        restore.entries.filter(index=2).update(name=NAMES[2])
        restore.entries.filter(index=0).update(index=9)
    with pytest.raises(RestoreRefused, match="Have the database checked"):
        moves.insist_names(restore)


BULK = {"operation": "mark", "on_conflict": "overwrite"}
PAIRS = [({}, {}, ""), (BULK, {}, "restores"), ({}, BULK, "changes/bulk"), (BULK, BULK, "changes/bulk")]


@pytest.mark.parametrize(("values", "others", "page"), PAIRS)
def test_a_bulk_change_and_any_other_write_of_the_same_keys_wait_for_each_other(
    mine: deletion_run._Deletion, world: GateWorld, values: dict[str, Any], others: dict[str, Any], page: str
) -> None:
    run: dict[str, Any] = {"approval_id": -1, "run_id": -1, "reason": "no longer needed", "compared_at": clock.now()}
    restore = restore_of(mine, **values)
    moves.insist_alone(restore)
    elsewhere = restore_of(mine, world.production, state="writing", **run, **others)
    moves.insist_alone(restore)
    run = {**run, "approval_id": -2, "run_id": -2}
    other = restore_of(mine, state="writing", **run, **others)
    later = restore_of(mine, state="writing", **{**run, "approval_id": -3, "run_id": -3}, **others)
    if page:
        with pytest.raises(RestoreRefused, match=rf"being written: /{page}/{other.pk}/\. Start when that is done\.$"):
            moves.insist_alone(restore)
    else:
        moves.insist_alone(restore)
    with gate.past_the_triggers():  # there are no such runs
        RestoreEntry.objects.filter(restore__in=[elsewhere, other, later]).delete()
        Restore.objects.filter(pk__in=[elsewhere.pk, other.pk, later.pk]).delete()


# Deletions just before


@pytest.fixture
def sent(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the deletion have sent its chunk so many seconds ago."""
    monkeypatch.setattr(timing, "STALE", 300.0)
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)

    def act(**ago: float | None) -> None:
        removed(CleanupChunk)
        found = CleanupChunk.objects.create(stage=mine.stage, number=1, first_index=0, last_index=2)
        times = {name: None if one is None else at - timedelta(seconds=one) for name, one in ago.items()}
        gate.tampered(found, state="sent", names=3, names_sha256="0" * 64, **times)

    return act


def test_a_restore_waits_until_kv_shows_the_deleted_keys_as_absent(
    mine: deletion_run._Deletion, restore: Restore, world: GateWorld, lease: Lease, sent: Callable[..., None]
) -> None:
    run = run_of(restore, lease)
    assert run.until_gone() == 0.0
    sent(intended_at=100.0, sent_at=40.0)
    assert run.until_gone() == pytest.approx(260.0)
    sent(intended_at=100.0, sent_at=None)
    assert run.until_gone() == pytest.approx(200.0)
    sent(intended_at=400.0, sent_at=None)
    assert run.until_gone() == pytest.approx(-100.0)
    sent(intended_at=100.0, sent_at=40.0)
    assert run_of(restore_of(mine, world.production), lease).until_gone() == 0.0
    run.restore.generation.prefixes = ["mail:"]
    assert run.until_gone() == 0.0


# The next chunk


def test_planned_chunks_come_before_new_ones_in_the_order_of_their_names(restore: Restore, lease: Lease) -> None:
    chunk_of(restore, 1, 0, 2, state="settled")
    later = chunk_of(restore, 3, 1, 1, state="planned", attempt=2)
    chunk_of(restore, 2, 1, 2, state="planned", attempt=2)
    run = run_of(restore, lease)
    found = run._next()
    assert found is not None
    assert (found.first_index, found.number) == (1, 2)
    removed(RestoreChunk, number=2)
    chunk_of(restore, 5, 0, 0, state="planned", attempt=2)
    assert [one.number for one in (run._next(),) if one] == [5]
    removed(RestoreChunk, number=5)
    assert run._next() == later
    removed(RestoreChunk)
    new = run._next()
    assert new is not None
    assert (new.restore, new.first_index, new.last_index, new.state) == (restore, 0, 2, State.PLANNED)
    chunk_of(restore, 8, 0, 2, state="settled")
    removed(RestoreChunk, pk=new.pk)
    assert run._next() is None


def test_a_run_that_is_ended_sends_no_further_chunk(restore: Restore, lease: Lease) -> None:
    first, again = chunk_of(restore, 1, 0, 0, state="planned"), chunk_of(restore, 2, 1, 1, state="planned", attempt=2)
    assert run_of(restore, lease, ending=True)._next() is None
    for chunk, state in ((first, State.SETTLED), (again, State.PLANNED)):
        chunk.refresh_from_db()
        assert chunk.state == state


# The intent


class Intending(Putter):
    """A putter of rows."""

    def __init__(self, restore: Restore, lease: Lease) -> None:
        self.restore, self.lease, self._calls_before = restore, lease, 7
        self.reader = self.writer = cast("Any", SimpleNamespace(calls=1))


@pytest.fixture
def writing(mine: deletion_run._Deletion) -> Restore:
    """A restore that is written, under an approval and in a run of another kind."""
    run: dict[str, Any] = {"approval": mine.stage.approval, "run": mine.lease.run}
    return restore_of(mine, state="writing", reason="no longer needed", compared_at=clock.now(), **run)


@pytest.fixture
def intending(writing: Restore, mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> Intending:
    held: list[object] = []
    monkeypatch.setattr(emergency, "hold", held.append)
    found = Intending(writing, mine.lease)
    found.held = held  # type: ignore[attr-defined]
    return found


def test_an_intent_is_committed_with_the_reasons_of_the_others(intending: Intending, writing: Restore) -> None:
    chunk, at = chunk_of(writing, 1, 0, 2, state="planned"), clock.now()
    plan = ChunkPlan(1.0, at, {}, bulk=[KvEntry(NAMES[1], b"", None, None)], indexes={NAMES[1]: 1, NAMES[0]: 0})
    plan.results = {2: (Left.EQUAL, Compared.UNKNOWN)}
    intending._intend(chunk, plan)
    assert intending.held == [writing.environment]  # type: ignore[attr-defined]
    assert (chunk.state, chunk.names, chunk.read_at, chunk.sent_at) == (State.INTENDED, 2, at, None)
    assert chunk.names_sha256 == archive.names_sha256(NAMES[:2])
    assert (chunk.epoch, chunk.intended_at is not None) == (intending.lease.epoch, True)
    assert list(writing.entries.order_by("index").values_list("outcome", flat=True)) == ["planned", "planned", "equal"]
    newest = AuditEntry.objects.newest_first()[0]
    assert (newest.action, newest.digest) == ("restore.chunk_intended", chunk.names_sha256)
    assert newest.details == {"chunk": 1, "names": 2, "not_written": 1}
    assert (newest.subject, newest.actor) == (f"restore:{writing.pk}", intending.lease.actor.text)
    with pytest.raises(RunError, match=r"^A chunk was moved by another worker\.$") as error:
        intending._intend(chunk, plan)
    assert error.value.code == "chunk_moved"


def test_a_chunk_without_a_key_to_write_counts_as_sent(intending: Intending, writing: Restore) -> None:
    chunk = chunk_of(writing, 1, 0, 2, state="planned")
    intending._intend(chunk, ChunkPlan(1.0, clock.now(), {}, results={0: (Left.EQUAL, Compared.UNKNOWN)}))
    assert (chunk.state, chunk.names, chunk.sent_at is not None) == (State.SENT, 0, True)
    assert (intending.lease.run.done, intending.lease.run.calls) == (3, 9)


def test_no_intent_is_committed_under_an_emergency_stop(
    intending: Intending, writing: Restore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: object) -> None:
        raise Stopped(emergency.CODE, "stopped")

    monkeypatch.setattr(emergency, "hold", stopped)
    chunk = chunk_of(writing, 1, 0, 2, state="planned")
    with pytest.raises(Stopped):
        intending._intend(chunk, ChunkPlan(1.0, clock.now(), {}, indexes={NAMES[0]: 0}))
    chunk.refresh_from_db()
    assert chunk.state == State.PLANNED
