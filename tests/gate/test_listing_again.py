"""Sent names are listed until none is left: an unchanged one is sent again, and at the end the proof begins."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from audit.models import Entry as AuditEntry
from backups.deletion import run as deletion_run, settle as deletion_settle
from backups.execution.live_digests import KeyVerdict, frozen
from backups.models import CleanupException
from kvops import clock
from kvops.cloudflare import CursorRefused, KeyPage, KvEntry, ListedKey, RateLimited
from kvops.models import Run
from kvops.runs.outcomes import Again
from tests.gate import world as gate
from tests.gate.executing import Kv, alive, chunk_of, now
from tests.gate.world import NAMES

pytestmark = pytest.mark.django_db


class Listed(Kv):
    """A namespace that lists these pages, one after the other; `reserved` is what each step paid for."""

    def __init__(self, *pages: Sequence[str], held: dict[str, KvEntry] | None = None) -> None:
        super().__init__(held or {})
        self.pages, self.cursors, self.reserved = pages, [], []  # type: tuple[Sequence[str], ...], list[Any], list[int]
        self.at: list[tuple[str, str]] = []
        self.short = 0.0

    def list_keys(self, namespace_id: str, *, prefix: str, cursor: str | None) -> KeyPage:
        self.cursors.append(cursor)
        self.at.append((namespace_id, prefix))
        if self.refuses:
            raise self.refuses
        number = int(cursor or 0)
        following = str(number + 1) if number + 1 < len(self.pages) else None
        return KeyPage([ListedKey(name, None, None) for name in self.pages[number]], following, 0)

    def reserve(self, calls: int) -> float:
        self.reserved.append(calls)
        return self.short


def settle(mine: deletion_run._Deletion, kv: Listed) -> Again | None:
    return deletion_settle.settle(mine.stage, mine.lease, kv, kv)  # type: ignore[arg-type]


def same(*names: str) -> dict[str, KvEntry]:
    return {name: KvEntry(name, b"{}", None, None) for name in names}


def cursor_of(mine: deletion_run._Deletion) -> dict[str, Any]:
    return dict(Run.objects.get(pk=mine.lease.run.pk).cursor)


def outcomes(mine: deletion_run._Deletion) -> dict[str, str]:
    return dict(CleanupException.objects.filter(stage=mine.stage).values_list("name", "outcome"))


@pytest.fixture(autouse=True)
def moment(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> datetime:
    at = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: at)
    return at


@pytest.fixture
def sent(mine: deletion_run._Deletion) -> deletion_run._Deletion:
    """The deletion; its one chunk was sent with all names."""
    chunk_of(mine, "sent", last=2, names=3, names_sha256="7" * 64)
    mine.lease.run.cursor = {"phase": "settle", "waits": 2, "go_on": True, "singly": True, "most": 7, "x": 1}
    return mine


def test_a_phase_keeps_what_was_decided_and_learnt(sent: deletion_run._Deletion) -> None:
    cursor = deletion_settle.phase(sent.lease, "delete")
    assert cursor == {"phase": "delete", "waits": 2, "go_on": True, "singly": True, "most": 7}
    sent.lease.run.cursor = {"ending": True, "most": 0}
    assert deletion_settle.phase(sent.lease, "done") == {"phase": "done", "ending": True}


def test_a_clean_listing_is_the_first_of_the_proof(sent: deletion_run._Deletion, moment: datetime) -> None:
    kv = Listed(["master:x"], [], [])
    stage = sent.stage
    assert settle(sent, kv) is None
    stage.refresh_from_db()
    assert (stage.state, stage.deleted, stage.skipped, stage.first_listing_at) == ("deleted", 3, 0, moment)
    assert (kv.cursors, kv.reserved) == ([None, "1", "2"], [1, 1, 1])
    assert set(kv.at) == {(stage.namespace.namespace_id, "master:")}
    confirm, run = stage.confirm_run, Run.objects.get(pk=sent.lease.run.pk)
    assert confirm
    assert (confirm.kind, confirm.subject, confirm.label) == ("confirm", f"stage:{stage.pk}", str(stage))
    assert (confirm.actor, confirm.started_by, confirm.environment) == (
        sent.lease.actor.text, run.started_by, stage.environment,
    )  # fmt: skip
    assert (run.state, run.result, run.cursor["phase"]) == ("succeeded", {"deleted": 3, "skipped": 0}, "done")
    assert run.note == "Listing, to see that the names are gone."
    entry = AuditEntry.objects.get(action="stage.deleted")
    assert (entry.actor, entry.digest) == (sent.lease.actor.text, stage.names_sha256)
    assert entry.details == {"deleted": 3, "skipped": 0}
    chunk = stage.chunks.get()
    assert (chunk.state, chunk.settled_at is None) == ("settled", False)
    entry = AuditEntry.objects.get(action="chunk.settled")
    assert (entry.actor, entry.digest, entry.subject) == (sent.lease.actor.text, "7" * 64, f"stage:{stage.pk}")
    assert entry.details == {"chunk": 1, "names": 3}


def test_a_listing_that_held_a_sent_name_is_not_the_first_of_the_proof(sent: deletion_run._Deletion) -> None:
    assert settle(sent, Listed([NAMES[0]], [])) is None
    sent.stage.refresh_from_db()
    assert (sent.stage.state, sent.stage.first_listing_at, outcomes(sent)) == ("deleted", None, {})


def test_survivors_are_compared_and_sent_again(sent: deletion_run._Deletion) -> None:
    kv = Listed([NAMES[0]], NAMES[1:], held=same(NAMES[0]) | {NAMES[2]: KvEntry(NAMES[2], b"[]", None, None)})
    assert settle(sent, kv) is None
    assert outcomes(sent) == {NAMES[0]: "alive", NAMES[2]: "reappeared"}
    assert (kv.reserved, [names for _, names in kv.asked]) == ([1, 4, 1, 8], [[NAMES[0]], list(NAMES[1:])])
    assert {space for space, _ in kv.asked} == {sent.stage.namespace.namespace_id}
    sent.stage.refresh_from_db()
    run = Run.objects.get(pk=sent.lease.run.pk)
    assert (sent.stage.state, run.state, run.owner) == ("deleting", "running", "")
    assert run.cursor == {"phase": "delete", "waits": 2, "go_on": True, "singly": True, "most": 7}
    chunks = list(sent.stage.chunks.order_by("number").values_list("state", "attempt", "first_index", "last_index"))
    assert chunks == [("settled", 1, 0, 2), ("planned", 2, 0, 2)]
    assert Run.objects.filter(kind="confirm").count() == 0
    assert AuditEntry.objects.filter(action="chunk.settled").count() == 1


def test_a_family_that_is_read_exactly_is_read_exactly(sent: deletion_run._Deletion) -> None:
    gate.tampered(sent.generation, read="exact")
    sent.stage.refresh_from_db()
    kv = Listed(NAMES[:2], held=same(*NAMES))
    settle(sent, kv)
    assert sorted(names for _, names in kv.asked) == [[NAMES[0]], [NAMES[1]]]


def test_names_are_compared_a_hundred_at_a_time(sent: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion_settle, "BULK_GET_LIMIT", 2)
    kv = Listed(NAMES)
    settle(sent, kv)
    assert ([len(names) for _, names in kv.asked], kv.reserved) == ([2, 1], [1, 8, 4])


def test_a_step_that_is_over_goes_on_with_the_next_page(
    sent: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, moment: datetime
) -> None:
    monkeypatch.setattr(type(sent.lease), "tired", True)
    kv = Listed([NAMES[0]], ["master:x"], [])
    assert settle(sent, kv) == Again()
    expected = {"listing_since": moment.isoformat(), "page": "1", "listed": 1}
    assert {name: cursor_of(sent)[name] for name in expected} == expected
    monkeypatch.setattr("kvops.clock.now", lambda: moment + timedelta(hours=1))
    assert settle(sent, kv) == Again()
    assert cursor_of(sent)["listing_since"] == moment.isoformat()
    assert settle(sent, kv) is None
    assert kv.cursors == [None, "1", "2"]
    sent.stage.refresh_from_db()
    assert sent.stage.first_listing_at is None


def test_what_a_new_listing_begins_with(sent: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sent.lease), "tired", True)
    sent.lease.run.cursor = {"phase": "settle", "page": "7", "listed": 9}
    kv = Listed([], [])
    settle(sent, kv)
    assert (kv.cursors, cursor_of(sent)["listed"], cursor_of(sent)["page"]) == ([None], 0, "1")


@pytest.mark.parametrize("held", [(), NAMES[:1]])
def test_that_absent_keys_are_still_listed_is_no_step_forward(
    sent: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, held: Sequence[str]
) -> None:
    kept: list[dict[str, Any]] = []
    real = type(sent.lease).checkpoint

    def checkpoint(lease: Any, *what: Any, **how: Any) -> Any:
        kept.append(how)
        return real(lease, *what, **how)

    monkeypatch.setattr(type(sent.lease), "checkpoint", checkpoint)
    settle(sent, Listed(NAMES[:2], held=same(*held)))
    assert kept[0]["no_further"] == (not held)
    assert kept[0]["note"] == "Some names are still listed; reading them."
    assert kept[0]["cursor"]["listed"] == 2


def test_a_cursor_that_is_refused_starts_the_listing_again(sent: deletion_run._Deletion) -> None:
    kv = Listed([])
    kv.refuses = CursorRefused("no", status=400)
    assert settle(sent, kv) == Again()
    kept = {"phase": "settle", "waits": 2, "go_on": True, "singly": True, "most": 7, "restarts": 1}
    assert cursor_of(sent) == kept


def test_without_budget_nothing_is_listed_or_read(sent: deletion_run._Deletion) -> None:
    kv = Listed(NAMES)
    kv.short = 3.0
    with pytest.raises(RateLimited):
        settle(sent, kv)
    assert (kv.cursors, kv.reserved) == ([], [1])


# One chunk


@pytest.mark.parametrize(("state", "then"), [("intended", "settled"), ("sent", "settled"), ("planned", "planned")])
def test_a_chunk_that_was_read_is_closed_and_its_survivors_planned(
    mine: deletion_run._Deletion, state: str, then: str
) -> None:
    chunk = chunk_of(mine, state, last=1)
    other = chunk_of(mine, "sent", number=2, first=2, last=2)
    alive(mine, 1)
    with mine.lease.checkpoint():
        deletion_settle.settle_chunk(mine.stage, chunk, lease=mine.lease)
    assert (now(chunk).state, now(other).state, now(chunk).settled_at is not None) == (then, "sent", then == "settled")
    planned = mine.stage.chunks.filter(attempt=2).values_list("number", "first_index", "last_index", "state")
    assert list(planned) == [(3, 0, 1, "planned")] * (state != "planned")
    assert AuditEntry.objects.filter(action="chunk.settled").count() == 1


@pytest.mark.parametrize("index", [0, 2])
def test_survivors_of_other_chunks_are_not_planned_for_it(mine: deletion_run._Deletion, index: int) -> None:
    chunk = chunk_of(mine, "sent", first=1, last=1)
    alive(mine, index)
    alive(mine, 1, outcome="changed")
    with mine.lease.checkpoint():
        deletion_settle.settle_chunk(mine.stage, chunk, lease=mine.lease)
    assert mine.stage.chunks.count() == 1


@pytest.mark.parametrize(("attempt", "smaller", "ranges"), [(1, False, [(0, 2)]), (2, True, [(0, 1), (2, 2)])])
def test_a_chunk_that_deleted_nothing_is_planned_again_as_the_same_attempt(
    mine: deletion_run._Deletion, attempt: int, *, smaller: bool, ranges: list[tuple[int, int]]
) -> None:
    chunk = chunk_of(mine, "intended", last=2, attempt=attempt, names=3, names_sha256="7" * 64)
    other = chunk_of(mine, "intended", number=2, first=2, last=2)
    equal = frozen(mine.stage, [0, 2])
    with mine.lease.checkpoint():
        deletion_settle.settle_unsent(chunk, equal, "p" * 600, lease=mine.lease, smaller=smaller)
    answer = {"unsent": True, "problem": "p" * 500, "problem_sentence": {}}
    assert (now(chunk).state, now(chunk).answer) == ("settled", answer)
    assert (now(chunk).settled_at is None, now(other).state) == (False, "intended")
    planned = mine.stage.chunks.filter(state="planned").order_by("number")
    assert [(one.first_index, one.last_index) for one in planned] == ranges
    assert {one.attempt for one in planned} == {attempt}
    assert outcomes(mine) == ({NAMES[0]: "alive", NAMES[2]: "alive"} if attempt > 1 else {})
    entry = AuditEntry.objects.get(action="chunk.settled")
    assert entry.details == {"chunk": 1, "names": 3, "problem": "p" * 500}
    assert (entry.digest, entry.actor) == ("7" * 64, mine.lease.actor.text)


def test_by_default_it_is_not_made_smaller_and_only_an_intended_chunk_is_closed(mine: deletion_run._Deletion) -> None:
    chunk = chunk_of(mine, "sent", last=1)
    with mine.lease.checkpoint():
        deletion_settle.settle_unsent(chunk, [], "x", lease=mine.lease)
    assert (now(chunk).state, mine.stage.chunks.filter(first_index=0, last_index=1).count()) == ("sent", 2)


# The next attempt


def test_of_each_range_the_newest_chunk_is_planned_again_once(sent: deletion_run._Deletion) -> None:
    chunk_of(sent, "settled", number=2, last=2, attempt=2)
    chunk_of(sent, "settled", number=3, last=2, attempt=2)
    assert settle(sent, Listed(NAMES[:1], held=same(NAMES[0]))) is None
    planned = sent.stage.chunks.get(state="planned")
    assert (planned.number, planned.attempt, planned.first_index, planned.last_index) == (4, 3, 0, 2)


def test_several_ranges_get_numbers_of_their_own(sent: deletion_run._Deletion) -> None:
    gate.tampered(sent.stage.chunks.get(), last_index=0)
    chunk_of(sent, "settled", number=2, first=1, last=1)
    chunk_of(sent, "sent", number=3, first=2, last=2)
    settle(sent, Listed(NAMES, held=same(NAMES[0], NAMES[2])))
    planned = sent.stage.chunks.filter(state="planned").order_by("number").values_list("number", "first_index")
    assert list(planned) == [(4, 0), (5, 2)]
    settled = AuditEntry.objects.filter(action="chunk.settled").order_by("seq")
    assert [entry.details["chunk"] for entry in settled] == [1, 3]


def test_a_range_that_is_planned_already_is_not_planned_twice(mine: deletion_run._Deletion) -> None:
    chunk = chunk_of(mine, "sent")
    alive(mine, 0)
    elsewhere = chunk_of(mine, number=2, first=1, last=1)
    assert deletion_settle._again(mine.stage, [chunk]) == 1
    assert deletion_settle._again(mine.stage, [chunk]) == 0
    assert now(elsewhere).state == "planned"


def test_the_newest_of_a_range_is_that_of_the_last_attempt(mine: deletion_run._Deletion) -> None:
    for number, attempt in ((4, 2), (1, 2), (2, 1)):
        chunk_of(mine, "settled", number=number, attempt=attempt)
    chunk_of(mine, "settled", number=3, first=1, last=1)
    newest = deletion_settle._newest_per_range(mine.stage)
    assert sorted(chunk.number for chunk in newest) == [3, 4]


def test_the_attempts_of_no_names_are_none(mine: deletion_run._Deletion) -> None:
    assert deletion_settle._attempts(mine.stage, []) == {}
    [entry] = frozen(mine.stage, [0])
    deletion_settle.except_(mine.stage, {entry: KeyVerdict.ABSENT}, mine.lease)
    assert outcomes(mine) == {}
