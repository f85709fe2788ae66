"""The calls of a restore and what precedes each: how old a read may be, rights, stops, and the names that are read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.generations.reader import Wanted
from backups.models import CleanupStage, Restore, RestoreChunk, RestoreEntry
from backups.restores import before_write, run as restore_run, safety_backup, undo as stage_undo, write
from backups.restores.plan import ChunkPlan
from backups.restores.run import RestoreRun
from backups.restores.write import Putter
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import ApiError, CloudflareError, KvEntry, NameRefused, TooLate
from kvops.cloudflare.writes import BulkOutcome
from kvops.models import ApprovalRequest, Environment
from kvops.runs import emergency
from kvops.runs.outcomes import Again, RunError, Stopped
from tests.gate.test_restore_keys import BACKUP, OTHERS, restore_of, want

Left = RestoreEntry.Outcome
NOW = datetime(2026, 11, 30, tzinfo=UTC)
DONE = BulkOutcome(1, [], [])
FAR = KvEntry("mail:b", b"far", None, None)


class Sending(Putter):
    """A putter whose calls, times and outcomes are noted in `done`, and whose clock is `at`."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.at, self.fenced, self.error = 100.0, False, dict[str, Exception]()
        self.restore, self.namespace_id = restore_of(), "b" * 32
        self.restore.generation.read = "bulk"
        self.reader = self.writer = self.lease = self.budget = cast("Any", self)
        self.written_at = 101.0
        self.reason: RestoreEntry.Outcome | None = None

    @contextmanager
    def fence(self) -> Iterator[None]:
        self.fenced = True
        yield
        self.fenced = False

    def keep(self) -> None:
        self.done.append(("keep",))

    def bulk_put(self, *given: object, until: float) -> BulkOutcome:
        return self._call("bulk_put", *given, until)

    def put_value(self, namespace_id: str, entry: KvEntry, *, until: float) -> BulkOutcome:
        return self._call("put_value", namespace_id, entry, until)

    def _call(self, name: str, *given: object) -> BulkOutcome:
        assert self.fenced
        if name in self.error:
            raise self.error[name]
        self.done.append((name, *given))
        return DONE

    def _outcome(self, *given: object) -> RestoreEntry.Outcome | None:
        self.done.append(("outcome", *given))
        return self.reason

    def _too_old(self, chunk: RestoreChunk) -> None:
        self.done.append(("too old", chunk))

    def _nothing_written(self, chunk: RestoreChunk, *, smaller: bool = False) -> None:
        self.done.append(("nothing", chunk, smaller))

    def _written(self, *given: object) -> None:
        self.done.append(("written", *given))


class Singly(Sending):
    """Whose single writes are noted whole; the second leaves its key."""

    def _write_singly(
        self, chunk: RestoreChunk, one: Wanted, entry: KvEntry, plan: ChunkPlan, answers: list[BulkOutcome]
    ) -> RestoreEntry.Outcome | None:
        if "single" in self.error:
            raise self.error["single"]
        self.done.append(("single", chunk, one, entry, plan, list(answers)))
        answers.append(DONE)
        return Left.SOON if entry is FAR else None


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monotonic clock of the writes, at `now`."""
    found = SimpleNamespace(now=100.0)
    for module in ("write", "plan"):
        monkeypatch.setattr(f"backups.restores.{module}.time", SimpleNamespace(monotonic=lambda: found.now))
    monkeypatch.setattr(timing, "READ_FRESH", 10.0)
    return found


def plan_of(bulk: Sequence[KvEntry] = (), single: Sequence[KvEntry] = ()) -> ChunkPlan:
    found = ChunkPlan(100.0, NOW, {"mail:a": b"safe"}, bulk=list(bulk))
    found.single = [(want(entry), entry) for entry in single]
    return found


CHUNK = RestoreChunk(attempt=1)


def test_one_bulk_call_then_the_single_ones_and_then_the_answer_is_kept() -> None:
    putter, plan = Singly(), plan_of([BACKUP], [OTHERS, FAR])
    putter._write(CHUNK, plan)
    assert putter.done == [
        ("bulk_put", "b" * 32, [BACKUP], 110.0),
        ("single", CHUNK, want(OTHERS), OTHERS, plan, [DONE]),
        ("single", CHUNK, want(FAR), FAR, plan, [DONE, DONE]),
        ("written", CHUNK, plan, [DONE, DONE, DONE], {"mail:b": Left.SOON}),
    ]
    assert plan.gap == 1.0


def test_without_entries_for_it_there_is_no_bulk_call(clocks: SimpleNamespace) -> None:
    putter, plan = Singly(), plan_of(single=[OTHERS])
    putter._write(CHUNK, plan)
    assert [name for name, *_ in putter.done] == ["single", "written"]
    assert plan.gap == 0.0
    clocks.now = 110.5
    putter._write(CHUNK, plan)
    assert putter.done[2:] == [("too old", CHUNK)]


ERRORS: list[tuple[str, CloudflareError, list[str], bool]] = [
    ("bulk_put", TooLate("late"), ["too old"], False),
    ("bulk_put", ApiError("no", status=500), ["nothing"], True),
    ("single", TooLate("late"), ["bulk_put"], True),
    ("single", ApiError("no", status=500), ["bulk_put"], True),
]


@pytest.mark.parametrize(("where", "error", "done", "raised"), ERRORS)
def test_only_a_chunk_without_any_answer_counts_as_not_written(
    where: str, error: CloudflareError, done: list[str], raised: bool
) -> None:
    putter = Singly()
    putter.error[where] = error
    if raised:
        with pytest.raises(type(error)):
            putter._write(CHUNK, plan_of([BACKUP], [OTHERS]))
    else:
        putter._write(CHUNK, plan_of([BACKUP], [OTHERS]))
    assert [name for name, *_ in putter.done] == done
    assert all(given[0] is CHUNK for name, *given in putter.done if name != "bulk_put")


# One entry


def singly(putter: Sending, plan: ChunkPlan, entry: KvEntry = BACKUP) -> tuple[object, list[BulkOutcome]]:
    answers: list[BulkOutcome] = []
    return putter._write_singly(CHUNK, want(entry), entry, plan, answers), answers


@pytest.mark.parametrize("now", [100.0, 109.0])
def test_a_fresh_read_is_relied_on(clocks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(write, "live_values", lambda *_: pytest.fail("read"))
    clocks.now, putter, plan = now, Sending(), plan_of()
    assert singly(putter, plan) == (None, [DONE])
    assert putter.done == [("keep",), ("keep",), ("put_value", "b" * 32, BACKUP, 110.0)]
    assert plan.gap == 1.0
    plan.gap = 7.0
    singly(putter, plan)
    assert plan.gap == 7.0


def test_an_old_read_is_done_again_before_the_write(clocks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def live(*given: object) -> list[tuple[Wanted, KvEntry]]:
        asked.append(given)
        return [(want(), OTHERS)]

    monkeypatch.setattr(write, "live_values", live)
    clocks.now, putter, plan = 109.1, Sending(), plan_of()
    putter.written_at = 112.0
    assert singly(putter, plan) == (None, [DONE])
    assert putter.done[2:] == [
        ("outcome", CHUNK, want(), BACKUP, OTHERS, {"mail:a": b"safe"}),
        ("put_value", "b" * 32, BACKUP, 119.1),
    ]
    assert asked == [(putter.reader, "b" * 32, [want()], "bulk")]
    assert plan.gap == pytest.approx(2.9)
    putter.reason, putter.done = Left.CHANGED, []
    assert singly(putter, plan) == (Left.CHANGED, [])
    assert [name for name, *_ in putter.done] == ["keep", "keep", "outcome"]


@pytest.mark.parametrize(("status", "soon", "left"), [(400, True, True), (400, False, False), (500, True, False)])
def test_only_a_refusal_of_an_expiration_that_is_close_leaves_the_key(status: int, soon: bool, left: bool) -> None:
    putter, plan = Sending(), plan_of()
    putter.error["put_value"] = ApiError("no", status=status)
    plan.soon = {BACKUP.name} if soon else {"mail:other"}
    if left:
        assert singly(putter, plan) == (Left.SOON, [])
    else:
        with pytest.raises(ApiError):
            singly(putter, plan)


# Before the first write


class Step(RestoreRun):
    """A run whose parts are noted in `done`; `wait` is what the safety backup and the reads answer."""

    def __init__(self, policy: str = "skip") -> None:
        self.done: list[object] = []
        self.restore = restore_of(policy)
        self.restore.environment = self.restore.namespace.environment = Environment(pk=1)
        self.lease, self.gone, self.waits, self._ending = cast("Any", self), 0.0, dict[str, Again](), False
        self._putter = cast("Any", self)

    def until_gone(self) -> float:
        return self.gone

    def derive(self) -> None:
        self.done.append("derive")

    def _look(self) -> Again | None:
        self.done.append("look")
        return self.waits.get("look")

    def go_on(self) -> None:
        self.done.append("go on")

    def _insist_rights(self) -> None:
        self.done.append("rights")

    def put(self, chunk: RestoreChunk) -> None:
        self.done.append(("put", chunk))


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> list[Environment]:
    """The environments that are stopped."""
    found: list[Environment] = []

    def insist_none(environment: Environment) -> None:
        if environment in found:
            raise Stopped(emergency.CODE, "stopped")

    monkeypatch.setattr(emergency, "insist_none", insist_none)
    return found


BEGINNINGS = [
    ("skip", ["derive", "go on"]), ("overwrite", ["derive", "safety", "go on"]), ("stop", ["derive", "look", "go on"])
]  # fmt: skip


@pytest.mark.parametrize(("policy", "done"), BEGINNINGS)
def test_everything_precedes_the_first_write(
    monkeypatch: pytest.MonkeyPatch, stop: list[Environment], policy: str, done: list[str]
) -> None:
    run = Step(policy)

    def back_up(restore: Restore, lease: object) -> Again | None:
        assert (restore, lease) == (run.restore, run.lease)
        run.done.append("safety")
        return run.waits.get("safety")

    monkeypatch.setattr(safety_backup, "back_up_first", back_up)
    assert run.begin() is None
    assert run.done == done
    run.done, run.waits = [], {"safety": Again(1.0), "look": Again(2.0)}
    expected = {"skip": None, "overwrite": Again(1.0), "stop": Again(2.0)}[policy]
    assert run.begin() == expected
    assert run.done == (done[:-1] if expected else done)
    run.done, run.gone = [], 0.5
    assert (run.begin(), run.done) == (Again(0.5, "Waiting: KV may still show the deleted keys."), [])
    stop.append(run.restore.environment)
    with pytest.raises(Stopped):
        run.begin()


class Reading(Step):
    """Reads its names."""

    _look = RestoreRun._look

    def __init__(self) -> None:
        super().__init__("stop")
        self.restore.names, self.restore.generation.read = 250, "bulk"
        self.tired, self.live = False, dict[int, Any]()
        self.backup = self.reader = self.budget = self.meter = self.run = cast("Any", self)
        self.cursor: dict[str, object] = {}

    def take(self, one: Wanted) -> KvEntry:
        return BACKUP

    def insist(self, wanted: object) -> None:
        self.done.append(wanted)

    def checkpoint(self, **values: Any) -> nullcontext[None]:
        self.done.append((values["cursor"], str(values["note"])))
        return nullcontext()


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    found = Reading()
    names = {index: want(index=index) for index in range(250)}

    def live(*given: Any) -> list[tuple[Wanted, object]]:
        assert (given[0], given[1], given[3]) == (found.reader, "b" * 32, "bulk")
        return [(one, found.live.get(one.index)) for one in given[2]]

    monkeypatch.setattr(restore_run, "wanted", lambda of, at: [names[index] for index in at if of is found.restore])
    monkeypatch.setattr(restore_run, "reserve", lambda budget, n: found.done.append(n * (budget is found)))
    monkeypatch.setattr(restore_run, "live_values", live)
    return found


def looked(n: int) -> tuple[dict[str, object], str]:
    return {"phase": "begin", "looked": n}, f"Keys compared: {n} of 250."


def test_every_name_is_read_in_blocks_before_the_first_write(reading: Reading) -> None:
    reading.live = {0: BACKUP, 249: BACKUP}
    assert reading._look() is None
    blocks = ((100, 100), (100, 200), (50, 250))
    assert reading.done == [one for n, at in blocks for one in (4 * n, {"read": n}, looked(at))]
    reading.done, reading.tired, reading.cursor = [], True, {"looked": 100}
    assert reading._look() == Again()
    assert reading.done == [400, {"read": 100}, looked(200)]


NO = NameRefused("no such name", status=400)
THERE = "'mail:a' is there now and not as in the backup. Nothing was written, as this restore asks."
NO_NAME = "'mail:a' cannot be read, because Cloudflare refuses its name. Nothing was written, as this restore asks."
METADATA = KvEntry("mail:a", b"backup", 4_000_000_000, None)


@pytest.mark.parametrize("index", [0, 150, 249])
@pytest.mark.parametrize(("live", "sentence"), [(OTHERS, THERE), (METADATA, THERE), (NO, NO_NAME)])
def test_a_key_that_differs_anywhere_stops_all_of_it(reading: Reading, index: int, live: object, sentence: str) -> None:
    reading.live = {index: live}
    with pytest.raises(RunError) as error:
        reading._look()
    assert error.value.code == "conflict"
    assert str(error.value).startswith(sentence)


# Before each chunk


def test_rights_and_policy_come_before_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Step()
    monkeypatch.setattr(before_write, "insist_in_force", lambda *given: run.done.append(given))
    run._put(CHUNK)
    assert run.done == ["rights", (run.restore, before_write.STALE), ("put", CHUNK)]


@pytest.mark.parametrize(("code", "raised"), [(emergency.CODE, False), ("", True)])
def test_the_emergency_stop_leaves_the_chunk_planned_and_a_person_ends_the_step(
    monkeypatch: pytest.MonkeyPatch, code: str, *, raised: bool
) -> None:
    run = Step()

    def refuse(*_: object) -> None:
        raise Stopped(code, "stopped")

    monkeypatch.setattr(before_write, "insist_in_force", refuse)
    if raised:
        with pytest.raises(Stopped):
            run._put(CHUNK)
    else:
        run._put(CHUNK)
    assert run.done == ["rights"]


def test_the_evidence_and_then_the_objects_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Step()
    monkeypatch.setattr(before_write, "insist_as_approved", lambda *given: run.done.append(given))
    monkeypatch.setattr(safety_backup, "insist_in_place", lambda *given: run.done.append(given))
    run._insist_evidence()
    assert run.done == [(run.restore,), (run.restore, run.lease)]


class Rights(Step):
    """Insists on rights."""

    _insist_rights = RestoreRun._insist_rights


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch, stop: list[Environment]) -> Rights:
    """Both rights, a deletion within its time, and two verified backups hold; `refuse` names what does not."""
    run = Rights()
    run.restore.approval = ApprovalRequest(pk=3)
    run.restore.stage = CleanupStage(pk=8)

    def still_valid(approval: object) -> None:
        assert approval is run.restore.approval
        if "rights" in run.done:
            raise approval_gate.ApprovalRefused("no right")

    def in_time(stage: object) -> None:
        assert stage is run.restore.stage
        if "time" in run.done:
            raise approval_gate.ApprovalRefused("too late")

    found = SimpleNamespace(filter=lambda pk: SimpleNamespace(exists=lambda: pk == 7 and "backup" not in run.done))
    monkeypatch.setattr(approval_gate, "still_valid", still_valid)
    monkeypatch.setattr(stage_undo, "insist_in_time", in_time)
    monkeypatch.setattr(restore_run, "Generation", SimpleNamespace(objects=SimpleNamespace(verified=lambda: found)))
    monkeypatch.setattr(safety_backup, "is_backed_up", lambda of: of is run.restore and "safety" not in run.done)
    return run


DAMAGED = "The backup is no longer verified. Nothing more is written."
GONE: dict[str, tuple[str, str]] = {
    "rights": ("rights_gone", "no right"),
    "time": ("rights_gone", "too late"),
    "backup": ("backup_damaged", DAMAGED),
    "safety": ("backup_damaged", DAMAGED),
}


@pytest.mark.parametrize("what", GONE)
def test_each_right_and_backup_is_needed_before_a_chunk(rights: Rights, stop: list[Environment], what: str) -> None:
    rights._insist_rights()
    rights.done.append(what)
    with pytest.raises(RunError) as error:
        rights._insist_rights()
    assert (error.value.code, str(error.value)) == GONE[what]
    stop.append(rights.restore.environment)
    with pytest.raises((Stopped, RunError)) as stopped:
        rights._insist_rights()
    assert isinstance(stopped.value, Stopped if GONE[what][0] == "rights_gone" else RunError)


def test_only_an_undo_has_a_time_and_every_restore_an_approval(rights: Rights) -> None:
    rights.done.append("time")
    rights.restore.stage = None
    rights._insist_rights()
    rights.restore.approval = None
    with pytest.raises(RunError, match=r"^The run does not carry the restore's approval\.$") as error:
        rights._insist_rights()
    assert error.value.code == "not_approved"
