"""The keys of a chunk that a restore may write, and its verdict on each value that it reads back: without a row."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.execution.live_values import LEAST, Live
from backups.generations.export import entry_digest
from backups.generations.reader import Wanted
from backups.models import Generation, Restore, RestoreChunk, RestoreEntry
from backups.restores import chunks as restore_chunks, safety_backup, write
from backups.restores.plan import ChunkPlan
from backups.restores.verification import Settler
from backups.restores.write import Putter
from kvops import clock, timing
from kvops.cloudflare import KvEntry, NameRefused, RateLimited
from kvops.models import Namespace

Left, Compared = RestoreEntry.Outcome, RestoreEntry.Compared
KEY = b"k" * 32
BACKUP = KvEntry("mail:a", b"backup", 4_000_000_000, '{"v":1}')
OTHERS = KvEntry("mail:a", b"others", 4_000_000_000, '{"v":1}')
SAFE = KvEntry("mail:a", b"safe", None, None)
NO = NameRefused("no such name", status=400)
NOW = datetime(2026, 11, 30, tzinfo=UTC)
SAFETY = Generation(pk=9)


def want(entry: KvEntry = BACKUP, index: int = 4, outcome: str = "planned") -> Wanted:
    return Wanted(index, entry.name, len(entry.data), "value", outcome, index, entry_digest(entry, KEY))


@pytest.fixture(autouse=True)
def digest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the safety backup and the backup itself have this key."""

    def digest_key(generation: Generation | None) -> bytes:
        return KEY if generation in {SAFETY, Generation(pk=7)} else b"another" * 5

    monkeypatch.setattr("backups.generations.encryption.digest_key", digest_key)


class Calls:
    """The lease, budget, meter and reader of a step, with what they were asked in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.exhausted = False
        self.run = SimpleNamespace(cursor={}, calls=0, done=0)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given: self.asked.append((name, *given))


def restore_of(policy: str = "overwrite") -> Restore:
    namespace = Namespace(pk=2, namespace_id="b" * 32, binding="SETTINGS")
    return Restore(pk=5, namespace=namespace, generation=Generation(pk=7), safety=SAFETY, on_conflict=policy)


def putter_of(policy: str = "overwrite", kind: type[Putter] = Putter) -> Putter:
    found, calls = kind.__new__(kind), Calls()
    found.restore, found.lease, found.budget, found.meter = restore_of(policy), calls, calls, calls  # type: ignore[assignment]
    found.reader, found.writer, found.backup = calls, calls, calls  # type: ignore[assignment]
    found.namespace_id, found._families = "b" * 32, cast("Any", "families")
    return found


class BulkPutter(Putter):
    """As that of a bulk change, which creates no key again."""

    absent, lost = Left.GONE, Left.LOST


DIFFERS = (
    KvEntry("mail:a", b"others", 4_000_000_000, '{"v":1}'),
    KvEntry("mail:a", b"backup", 4_000_000_000, '{"v":2}'),
    KvEntry("mail:a", b"backup", 4_000_000_001, '{"v":1}'),
)
OUTCOMES: list[tuple[int, Live, str, RestoreEntry.Outcome | None]] = [
    (1, None, "skip", None),
    (2, None, "skip", None),
    (1, NO, "skip", Left.UNREADABLE),
    (2, NO, "overwrite", Left.UNREADABLE),
    (1, BACKUP, "skip", Left.EQUAL),
    (2, BACKUP, "skip", Left.SENT),
    (3, BACKUP, "overwrite", Left.SENT),
    (1, SAFE, "overwrite", None),
    (2, SAFE, "overwrite", None),
    (2, OTHERS, "overwrite", Left.DIFFERENT),
    (2, OTHERS, "skip", Left.DIFFERENT),
    (1, OTHERS, "overwrite", Left.CHANGED),
    *((1, live, policy, how) for live, how in zip(DIFFERS, (Left.VALUE, Left.METADATA, Left.EXPIRATION), strict=True)
      for policy in ("skip", "stop")),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "live", "policy", "outcome"), OUTCOMES)
def test_only_an_absent_key_or_one_as_in_the_safety_backup_is_written(
    monkeypatch: pytest.MonkeyPatch, attempt: int, live: Live, policy: str, outcome: RestoreEntry.Outcome | None
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(write, "cannot_be_backed_up", lambda *given: asked.append(given))
    digests = {SAFE.name: entry_digest(SAFE, KEY)}
    putter, chunk = putter_of(policy), RestoreChunk(attempt=attempt)
    assert putter._outcome(chunk, want(), BACKUP, live, digests) is outcome
    assert asked == ([("families", "mail:a")] if outcome is Left.CHANGED else [])


def test_a_key_that_differs_and_needs_encryption_for_its_backup_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "cannot_be_backed_up", lambda *_: True)
    assert putter_of()._outcome(RestoreChunk(attempt=1), want(), BACKUP, OTHERS, {}) is Left.SENSITIVE


def test_without_a_digest_of_its_own_name_a_key_is_not_as_in_the_safety_backup() -> None:
    digests = {"mail:b": entry_digest(SAFE, KEY)}
    assert putter_of("skip")._outcome(RestoreChunk(attempt=1), want(), BACKUP, SAFE, digests) is Left.VALUE


def test_a_bulk_change_writes_no_key_that_is_gone() -> None:
    putter = putter_of(kind=BulkPutter)
    assert putter._outcome(RestoreChunk(attempt=1), want(), BACKUP, None, {}) is Left.GONE
    assert putter._outcome(RestoreChunk(attempt=2), want(), BACKUP, None, {}) is Left.LOST
    assert putter._outcome(RestoreChunk(attempt=1), want(), BACKUP, NO, {}) is Left.UNREADABLE


# The plan of a chunk

AT = int(NOW.timestamp())
CLOSE = AT + LEAST + int(timing.REQUEST_TIMEOUT)
PLANNED: list[tuple[KvEntry, str]] = [
    (KvEntry("a", b"1234", None, None), "bulk"),
    (KvEntry("b", b"12345", None, None), "single"),
    (KvEntry("c", b"1", None, "[1]"), "single"),
    (KvEntry("d", b"1", None, '{"v":1}'), "bulk"),
    (KvEntry("e", b"1", CLOSE, None), "bulk"),
    (KvEntry("f", b"1", CLOSE - 1, None), "soon"),
    (KvEntry("g", b"1", AT + LEAST, None), "soon"),
    (KvEntry("h", b"1", AT + LEAST - 1, None), Left.SOON),
    (KvEntry("i", b"1", AT, None), Left.EXPIRED),
    (KvEntry("j", b"left", None, None), Left.EQUAL),
    (KvEntry("k", b"unmarked", None, None), Left.UNMARKED),
    (KvEntry("l", b"1", None, None), "bulk"),
]


class Marking(Putter):
    """Leaves one entry, and one expired one that is there and differs."""

    def to_write(self, backup: KvEntry) -> KvEntry | None:
        return None if backup.data == b"unmarked" else backup


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(timing, "REQUEST_TIMEOUT", float(int(timing.REQUEST_TIMEOUT)))
    monkeypatch.setattr(write, "SINGLE", 4)


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was reserved."""
    found: list[object] = []
    monkeypatch.setattr(write, "reserve", lambda budget, calls: found.append((type(budget), calls)))
    monkeypatch.setattr(write, "calls_for", lambda read, names: {"bulk": 100, "exact": 200}[read] + names)
    monkeypatch.setattr(write, "spare", lambda lease: 1_000 if isinstance(lease, Calls) else 0)
    return found


@pytest.mark.usefixtures("at")
def test_each_entry_of_a_chunk_is_planned_or_left_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, paid: list[object]
) -> None:
    putter, entries = putter_of(kind=Marking), [entry for entry, _ in PLANNED]
    putter.restore.generation.read = "bulk"
    names = [want(entry, index + 10) for index, entry in enumerate(entries)]
    asked: list[object] = []

    def live(*given: object) -> Iterator[tuple[Wanted, Live]]:
        asked.append(given)
        return ((one, entries[9] if one.name == "j" else None) for one in names)

    monkeypatch.setattr(write, "live_values", live)

    def digests(*given: object) -> dict[str, bytes]:
        asked.append(given)
        return {"x": b"y"}

    monkeypatch.setattr(safety_backup, "safety_digests", digests)
    before = time.monotonic()
    plan = putter._plan(RestoreChunk(attempt=1), names, entries)
    assert before <= plan.since <= time.monotonic()
    assert (plan.read_at, plan.safety_digests) == (NOW, {"x": b"y"})
    how = {index: how for index, (_, how) in enumerate(PLANNED, 10)}
    assert plan.results == {index: (one, Compared.UNKNOWN) for index, one in how.items() if isinstance(one, Left)}
    assert [entry.name for entry in plan.bulk] == ["a", "d", "e", "l"]
    assert [(one.name, entry.name) for one, entry in plan.single] == [(name, name) for name in "bcfg"]
    assert plan.soon == {"f", "g"}
    assert plan.indexes == {names[index - 10].name: index for index, one in how.items() if not isinstance(one, Left)}
    assert plan.names == list("abcdefgl")
    assert asked == [(putter.restore, names), (putter.reader, "b" * 32, names, "bulk")]
    assert paid == [(Calls, 100 + 12 + 1_000)]
    assert cast("Calls", putter.lease).asked == [("insist", {"read": 24, "write": 12}), ("renew",)]


@pytest.mark.usefixtures("at", "paid")
def test_an_expired_entry_over_a_key_that_differs_is_left_for_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    putter = putter_of("skip")
    putter.restore.generation.read = "exact"
    monkeypatch.setattr(write, "live_values", lambda *_: [(want(), OTHERS)])
    monkeypatch.setattr(safety_backup, "safety_digests", lambda *_: {})
    plan = putter._plan(RestoreChunk(attempt=1), [want()], [KvEntry("mail:a", b"x", 1, None)])
    assert plan.results == {4: (Left.VALUE, Compared.UNKNOWN)}


@pytest.mark.usefixtures("at", "paid")
def test_names_without_an_answer_are_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    putter = putter_of()
    putter.restore.generation.read = "bulk"
    monkeypatch.setattr(write, "live_values", lambda *_: [(want(), OTHERS)])
    monkeypatch.setattr(safety_backup, "safety_digests", lambda *_: {})
    monkeypatch.setattr(write, "cannot_be_backed_up", lambda *_: False)
    with pytest.raises(ValueError, match="shorter"):
        putter._plan(RestoreChunk(attempt=1), [want(), want(index=5)], [BACKUP, BACKUP])


def test_a_plan_is_old_when_its_read_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "READ_FRESH", 5.0)
    plan = ChunkPlan(100.0, NOW, {}, indexes={"b": 1, "a": 2})
    assert (plan.until, plan.names) == (105.0, ["a", "b"])
    for now, old in ((104.9, False), (105.0, False), (105.1, True)):
        monkeypatch.setattr("backups.restores.plan.time", SimpleNamespace(monotonic=lambda now=now: now))
        assert plan.old is old


# A chunk from its read to its call


def note(putter: Putter, *what: object) -> None:
    cast("Calls", putter.lease).asked.append(what)


class Played(Putter):
    """Notes what is done with a plan."""

    def _plan(self, chunk: RestoreChunk, names: Sequence[Wanted], backups: Sequence[KvEntry]) -> ChunkPlan:
        if isinstance(PLAN[0], Exception):
            raise PLAN[0]
        note(self, "plan", chunk, names, backups)
        return cast("ChunkPlan", PLAN[0])

    def _make_smaller(self, chunk: RestoreChunk, names: Sequence[Wanted]) -> None:
        note(self, "smaller", chunk, names)

    def _intend(self, chunk: RestoreChunk, plan: ChunkPlan) -> None:
        note(self, "intend", chunk, plan)

    def _write(self, chunk: RestoreChunk, plan: ChunkPlan) -> None:
        note(self, "write", chunk, plan)


PLAN: list[Any] = []


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Put a chunk of so many names with a plan, and tell what was done."""

    def act(plan: Any, names: int = 2, *, more: bool = True, exhausted: bool = False) -> list[str]:
        PLAN[:] = [plan]
        wanted = [want(index=index) for index in range(names)]
        putter = putter_of(kind=Played)
        putter.budget.exhausted = exhausted
        chunk, calls = RestoreChunk(), cast("Calls", putter.lease)
        calls.take = lambda one: ("value of", one)  # type: ignore[attr-defined]
        reserved: list[object] = []
        monkeypatch.setattr(restore_chunks, "names_of", lambda of: wanted if of is chunk else [])
        monkeypatch.setattr(write, "reserve", lambda budget, n: reserved.append((budget, n)))
        monkeypatch.setattr(write, "reserve_more", lambda lease: more and lease is calls)
        putter.put(chunk)
        assert calls.asked[0] == ("renew",)
        for name, *given in calls.asked[1:]:
            rest: dict[object, list[Any]] = {"plan": [wanted, [("value of", one) for one in wanted]]}
            rest["smaller"] = [wanted]
            assert given == [chunk, *rest.get(name, [plan])]
        if reserved:
            assert reserved == [(putter.budget, 3 * len(plan.single) + 1)]
        return [str(name) for name, *_ in calls.asked[1:]] + ["paid"] * bool(reserved)

    return act


def plan_of(single: int = 0, *, since: float | None = None, indexes: int = 1) -> ChunkPlan:
    found = ChunkPlan(time.monotonic() if since is None else since, NOW, {})
    found.single = [(want(), BACKUP)] * single
    found.indexes = {str(index): index for index in range(indexes)}
    return found


def test_a_chunk_is_intended_before_it_is_written(play: Callable[..., list[str]]) -> None:
    assert play(plan_of()) == ["plan", "intend", "write", "paid"]
    assert play(plan_of(single=write.MANY)) == ["plan", "intend", "write", "paid"]
    assert play(plan_of(single=write.MANY + 1), names=1) == ["plan", "intend", "write", "paid"]


def test_a_chunk_without_a_key_to_write_sends_nothing(play: Callable[..., list[str]]) -> None:
    assert play(plan_of(indexes=0)) == ["plan", "intend", "paid"]


def test_too_many_single_writes_or_an_old_read_make_it_smaller(play: Callable[..., list[str]]) -> None:
    assert play(plan_of(single=write.MANY + 1)) == ["plan", "smaller"]
    assert play(plan_of(since=0.0)) == ["plan", "smaller", "paid"]


LIMITED = RateLimited("The request budget is used up.", 9.0)


def test_a_budget_that_a_read_exhausted_is_raised_or_the_chunk_made_smaller(play: Callable[..., list[str]]) -> None:
    assert play(LIMITED, exhausted=True) == []
    assert play(LIMITED, exhausted=True, more=False) == ["smaller"]
    for names, exhausted in ((2, False), (1, True)):
        with pytest.raises(RateLimited):
            play(LIMITED, names, exhausted=exhausted)


# What is read back


def settler_of(*, ending: bool = False, **outcomes: RestoreEntry.Outcome) -> Settler:
    found = Settler.__new__(Settler)
    found.restore, found._key, found._ending = restore_of(), KEY, ending
    for name, outcome in outcomes.items():
        setattr(found, name, outcome)
    return found


def result(settler: Settler, live: Live, was: str = "sent", attempt: int = 1) -> tuple[str, str]:
    one, safe = want(outcome=was), entry_digest(SAFE, KEY)
    outcome, compared = settler._result_of(RestoreChunk(attempt=attempt), one, live, safe)
    return outcome.value, compared.value


UNDER_WAY = ("planned", "sent", "again")
LEFT = ("value", "metadata", "expiration", "sensitive", "changed", "different")


@pytest.mark.parametrize("was", [*UNDER_WAY, "equal", *LEFT])
def test_what_is_read_back_decides_each_name(was: str) -> None:
    settler, ours = settler_of(), was in UNDER_WAY
    sent = ours or was == "equal"
    assert result(settler, BACKUP, was) == ("written" if ours else was, "equal")
    assert result(settler, NO, was) == ("unreadable" if sent else was, "")
    assert result(settler, None, was) == (("again", "") if sent else (was, "absent"))
    assert result(settler, SAFE, was) == (("again", "") if sent else (was, "different"))
    assert result(settler, OTHERS, was) == ("different" if sent else was, "different")


def test_a_write_that_did_not_arrive_is_tried_three_times() -> None:
    for attempt, outcome in (
        (1, ("again", "")),
        (2, ("again", "")),
        (3, ("failed", "absent")),
        (4, ("failed", "absent")),
    ):
        assert result(settler_of(), None, attempt=attempt) == outcome
    assert result(settler_of(), SAFE, attempt=3) == ("failed", "different")
    assert result(settler_of(ending=True), None) == ("stopped", "absent")
    assert result(settler_of(ending=True), SAFE, attempt=3) == ("stopped", "different")


def test_a_bulk_change_creates_no_key_again() -> None:
    settler = settler_of(lost=Left.LOST, absent=Left.GONE)
    assert result(settler, None) == ("lost", "absent")
    assert result(settler, None, "equal") == ("gone", "absent")
    assert result(settler, SAFE) == ("again", "")
    assert result(settler, SAFE, "equal") == ("again", "")
    assert result(settler_of(lost=Left.LOST), None, "equal") == ("again", "")


def test_an_entry_that_cannot_be_made_again_is_equal_to_none() -> None:
    settler = settler_of()
    settler.expected = lambda one: None  # type: ignore[method-assign]  # noqa: ARG005
    assert result(settler, BACKUP) == ("different", "different")
    assert result(settler, None) == ("again", "")
