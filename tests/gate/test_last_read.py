"""The last read before a delete: what is paid for it, how it is cut, what becomes of a chunk that cannot have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Barrier
from typing import cast

import pytest

from backups.deletion import send as deletion_send
from backups.deletion.send import Sender
from backups.execution import live_digests, prepaid
from backups.execution.live_digests import Frozen, KeyVerdict
from backups.generations.export import entry_digest
from backups.models import CleanupChunk, CleanupException, CleanupStage, GenerationEntry
from kvops.cloudflare import Cloudflare, KvEntry, NameRefused, RateLimited
from kvops.models import Run
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from tests.gate import world as gate
from tests.gate.executing import Kv, now
from tests.gate.world import NAMES

pytestmark = pytest.mark.django_db
LIMITED = RateLimited("The request budget is used up.", 9.0)


@dataclass
class PrepaidBudget:
    """What was reserved; `left` is what is paid after a read, `exhausted` whether a read met its end."""

    left: int = 100
    exhausted: bool = False
    wait: float = 0.0
    reserved: list[int] = field(default_factory=list)

    def reserve(self, calls: int) -> float:
        self.reserved.append(calls)
        return self.wait

    @property
    def paid(self) -> int:
        return self.left


@dataclass
class FakeMeter:
    """What of the day's quota was insisted on."""

    wanted: list[Mapping[str, int]] = field(default_factory=list)

    def insist(self, wanted: Mapping[str, int]) -> None:
        self.wanted.append(wanted)


@pytest.fixture
def budget(sender: Sender) -> PrepaidBudget:
    sender.budget, sender.meter = PrepaidBudget(), FakeMeter()  # type: ignore[assignment]
    return cast("PrepaidBudget", sender.budget)


def planned() -> list[tuple[int, int]]:
    found = CleanupChunk.objects.filter(state="planned").order_by("first_index")
    return list(found.values_list("first_index", "last_index"))


def test_a_chunk_is_paid_read_and_sent(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget
) -> None:
    sender.send(chunk)
    assert budget.reserved == [2 + prepaid.SPARE]
    assert cast("FakeMeter", sender.meter).wanted == [{"read": 6, "delete": 3}]
    assert kv.sent == [(stage.namespace.namespace_id, list(NAMES))]


def test_single_reads_are_paid_twice_over(
    sender: Sender, chunk: CleanupChunk, budget: PrepaidBudget, lease: Lease
) -> None:
    sender.generation.read = "exact"
    lease.run.cursor["singly"] = True
    sender.send(chunk)
    assert budget.reserved == [12 + prepaid.SPARE_SINGLY]


def test_what_is_not_paid_is_not_read(sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget) -> None:
    budget.wait = 9.0
    with pytest.raises(RateLimited):
        sender.send(chunk)
    assert (kv.asked, cast("FakeMeter", sender.meter).wanted, now(chunk).state) == ([], [], "planned")


def test_what_the_day_s_quota_does_not_hold_is_not_read(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_meter: FakeMeter, _wanted: object) -> None:
        raise LIMITED

    monkeypatch.setattr(FakeMeter, "insist", refuse)
    with pytest.raises(RateLimited):
        sender.send(chunk)
    assert (kv.asked, kv.sent) == ([], [])


def test_what_is_not_in_the_backup_is_never_sent(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget
) -> None:
    entry = GenerationEntry.objects.get(generation=stage.generation, index=1)
    gate.tampered(entry, outcome="expired", digest=None)
    sender.send(chunk)
    assert kv.sent == [(stage.namespace.namespace_id, [NAMES[0], NAMES[2]])]
    assert CleanupException.objects.get().outcome == "expired"
    assert cast("FakeMeter", sender.meter).wanted == [{"read": 4, "delete": 2}]


def limited(kv: Kv) -> None:
    def read() -> None:
        raise LIMITED

    kv.during_read = read


def test_a_limit_of_cloudflare_s_is_waited_for(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget
) -> None:
    limited(kv)
    with pytest.raises(RateLimited):
        sender.send(chunk)
    assert (planned(), kv.sent) == ([(0, 2)], [])


def test_a_single_key_waits_though_the_reserve_is_used_up(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget
) -> None:
    gate.tampered(chunk, last_index=0)
    chunk.refresh_from_db()
    limited(kv)
    budget.exhausted = True
    with pytest.raises(RateLimited):
        sender.send(chunk)
    assert planned() == [(0, 0)]


@pytest.mark.parametrize("left", [0, 1])
def test_a_reserve_that_does_not_suffice_makes_the_chunk_smaller(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget, left: int
) -> None:
    limited(kv)
    budget.exhausted, budget.left = True, left
    sender.lease.run.cursor["singly"] = True
    sender.send(chunk)
    assert (planned(), now(chunk).state, kv.sent) == ([(0, 1), (2, 2)], "settled", [])
    assert sender.lease.run.cursor.get("most") == (None if left else 2)


@pytest.mark.parametrize("read", [True, False])
def test_more_is_reserved_before_a_chunk_is_made_smaller(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget, read: bool
) -> None:
    if not read:
        limited(kv)
    budget.exhausted, budget.left = True, 0
    sender.send(chunk)
    assert (planned(), kv.sent) == ([(0, 2)], [])
    assert Run.objects.get(pk=sender.lease.run.pk).cursor["singly"] is True


def test_without_one_call_left_nothing_is_sent(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget, lease: Lease
) -> None:
    lease.run.cursor["singly"] = True
    budget.left = 0
    sender.send(chunk)
    assert (planned(), kv.sent) == ([(0, 1), (2, 2)], [])


def test_a_single_key_that_cannot_be_read_in_time_ends_it(
    sender: Sender, chunk: CleanupChunk, kv: Kv, budget: PrepaidBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.tampered(chunk, last_index=0)
    chunk.refresh_from_db()
    monkeypatch.setattr(Sender, "_read_in_time", lambda *_: None)
    with pytest.raises(RunError) as refused:
        sender.send(chunk)
    assert (refused.value.code, str(refused.value), kv.sent) == ("too_slow", deletion_send.TOO_SLOW, [])


# How it is read


class FakeReader:
    """Reads at most `at_once` names in one answer; what it holds is equal, what it lacks is absent."""

    def __init__(self, entries: Sequence[Frozen], at_once: int = 100) -> None:
        self.held = {entry.name: KvEntry(entry.name, b"{}", None, None) for entry in entries}
        self.at_once = at_once
        self.asked: list[tuple[str, list[str]]] = []
        self.exactly = 0
        self.together: Barrier | None = None
        self.refused = ""

    def bulk_get_at_once(self, namespace_id: str, names: Sequence[str]) -> Mapping[str, KvEntry | None] | None:
        self.asked.append((namespace_id, list(names)))
        self._refuse(names)
        return {name: self.held.get(name) for name in names} if len(names) <= self.at_once else None

    def exact_get(self, namespace_id: str, name: str) -> KvEntry | None:
        self.asked.append((namespace_id, [name]))
        self.exactly += 1
        if self.together:
            self.together.wait(10)
        self._refuse([name])
        return self.held.get(name)

    def _refuse(self, names: Sequence[str]) -> None:
        if self.refused in names:
            raise NameRefused("the name", status=403)


def many(count: int) -> list[Frozen]:
    entries = [KvEntry(f"k{index:03}", b"{}", None, None) for index in range(count)]
    return [Frozen(index, entry.name, entry_digest(entry, None), None) for index, entry in enumerate(entries)]


def read(reader: FakeReader, entries: Sequence[Frozen], how: str) -> dict[Frozen, KeyVerdict]:
    return live_digests.read_and_compare(cast("Cloudflare", reader), "ns", entries, how)


@pytest.mark.parametrize(("how", "sizes"), [("bulk", [50, 100, 100]), ("exact", [1] * 250)])
def test_every_key_is_read_and_compared(how: str, sizes: list[int]) -> None:
    entries = many(250)
    reader = FakeReader(entries)
    del reader.held["k007"]
    reader.held["k200"] = KvEntry("k200", b"[]", None, None)
    found = read(reader, entries, how)
    assert sorted(len(names) for _, names in reader.asked) == sizes
    assert {space for space, _ in reader.asked} == {"ns"}
    assert (reader.exactly, list(found)) == (250 if how == "exact" else 0, entries)
    other = {entry.name: verdict for entry, verdict in found.items() if verdict is not KeyVerdict.EQUAL}
    assert other == {"k007": KeyVerdict.ABSENT, "k200": KeyVerdict.DIFFERENT}


@pytest.mark.parametrize("how", ["bulk", "exact"])
def test_only_a_name_whose_single_read_the_edge_refuses_counts_as_different(how: str) -> None:
    entries = many(5)
    reader = FakeReader(entries)
    reader.refused = "k003"
    found = read(reader, entries, how)
    assert list(found) == entries
    assert [entry.name for entry, verdict in found.items() if verdict is not KeyVerdict.EQUAL] == ["k003"]
    assert found[entries[3]] is KeyVerdict.DIFFERENT


def test_keys_are_read_side_by_side_so_that_the_oldest_read_stays_young() -> None:
    entries = many(live_digests.SIDE_BY_SIDE)
    reader = FakeReader(entries)
    reader.together = Barrier(live_digests.SIDE_BY_SIDE)
    assert set(read(reader, entries, "exact").values()) == {KeyVerdict.EQUAL}


def test_what_one_answer_cannot_hold_is_halved() -> None:
    entries = many(7)
    reader = FakeReader(entries, at_once=2)
    del reader.held["k006"]
    found = read(reader, entries, "bulk")
    assert list(found) == entries
    assert [entry.name for entry, verdict in found.items() if verdict is KeyVerdict.ABSENT] == ["k006"]
    assert [len(names) for _, names in reader.asked] == [7, 3, 1, 2, 4, 2, 2]
    assert {space for space, _ in reader.asked} == {"ns"}
