"""Bulk changes, written by the real client into the fake: exactly the approved keys, and only what was approved."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit import claims
from audit.models import Entry
from backups.changes.bulk import requests as bulk_requests
from backups.changes.bulk.start import BulkWish
from backups.history import deleted_keys
from backups.models import Generation, Restore, RestoreChunk, RestoreEntry
from backups.outside_changes import own_operations
from backups.restores import chunks as restore_chunks
from kvops import clock, timing
from kvops.models import Category, Key, Run, Scan
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import DAY, EXPIRY, MARK, NAMES, PAGES, PREFIX, Scope
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers

pytestmark = pytest.mark.django_db
Outcome = RestoreEntry.Outcome
type Act = Callable[[make.Estate], object]


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


@pytest.fixture
def ready(estate: make.Estate) -> make.Estate:
    return bulk_helpers.ready(estate)


def in_seconds(seconds: int) -> int:
    """A time, as KV holds it."""
    return int(clock.now().timestamp()) + seconds


def drop(estate: make.Estate, name: str) -> None:
    """Delete a key past the product."""
    restore_helpers.wipe(estate, estate.qa, name)


def finished(run: Run) -> Run:
    """Work, and look at the run."""
    make.work()
    run.refresh_from_db()
    return run


def test_each_key_gets_the_expiration_and_keeps_its_bytes_and_metadata(ready: make.Estate, people: make.People) -> None:
    before = bulk_helpers.held(ready, ready.qa)
    restore = bulk_helpers.done(ready.qa, people)
    after, at = bulk_helpers.held(ready, ready.qa), restore.bulk.expiration
    earliest, latest = bulk_helpers.in_a_day()
    assert at is not None
    assert earliest <= at <= latest
    assert {name: replace(before[name], expiration=at) for name in NAMES} == {name: after[name] for name in NAMES}
    assert {name: before[name] for name in PAGES} == {name: after[name] for name in PAGES}
    assert (restore.written, restore.equal, restore.left) == (3, 0, 0)


def test_a_time_is_written_as_it_was_asked_for(ready: make.Estate, people: make.People) -> None:
    at = in_seconds(3 * DAY)
    bulk_helpers.done(ready.qa, people, BulkWish(Restore.Operation.EXPIRATION, until=at))
    assert {bulk_helpers.held(ready, ready.qa)[name].expiration for name in NAMES} == {at}


def test_a_mark_sets_one_member_and_leaves_the_rest_as_it_was(ready: make.Estate, people: make.People) -> None:
    at = in_seconds(DAY)
    ready.put(ready.qa, PAGES[1], b"x", expiration=at)
    restore = bulk_helpers.done(ready.qa, people, MARK)
    after = bulk_helpers.held(ready, ready.qa)
    assert after[PAGES[0]].metadata == '{"v":1.0,"w":"x","stale":"2026-11-29"}'
    assert (after[PAGES[1]].metadata, after[PAGES[1]].expiration) == ('{"stale":"2026-11-29"}', at)
    assert [after[name].data for name in PAGES[1:]] == [b"x", b"\x00\xff" + PAGES[2].encode()]
    assert (restore.written, restore.left) == (3, 0)


@pytest.mark.parametrize("metadata", ["[1]", '"text"', '{"a":"' + "x" * 1_000 + '"}'])
def test_metadata_that_takes_no_mark_is_listed_and_left(ready: make.Estate, people: make.People, metadata: str) -> None:
    ready.put(ready.qa, PAGES[0], b"x", metadata=metadata)
    restore = bulk_helpers.done(ready.qa, people, MARK)
    assert bulk_helpers.outcomes(restore)[PAGES[0]] == Outcome.UNMARKED
    assert bulk_helpers.held(ready, ready.qa)[PAGES[0]].metadata == metadata
    assert (restore.written, restore.left) == (2, 1)


DRIFTS: dict[str, Act] = {
    "value": lambda estate: estate.put(estate.qa, NAMES[0], b"theirs", metadata='{"v":1.0,"w":"x"}'),
    "metadata": lambda estate: estate.put(estate.qa, NAMES[0], b"\x00\xff" + NAMES[0].encode(), metadata='{"v":2}'),
    "expiration": lambda estate: estate.put(
        estate.qa,
        NAMES[0],
        b"\x00\xff" + NAMES[0].encode(),
        expiration=in_seconds(2 * DAY),
        metadata='{"v":1.0,"w":"x"}',
    ),
}


@pytest.mark.parametrize("part", DRIFTS)
def test_a_key_that_differs_from_its_backup_is_listed_and_left(
    ready: make.Estate, people: make.People, part: str
) -> None:
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people), people)
    DRIFTS[part](ready)
    before = bulk_helpers.held(ready, ready.qa)[NAMES[0]]
    finished(bulk_requests.start(restore, by=people.operator))
    assert bulk_helpers.outcomes(restore)[NAMES[0]] == Outcome.CHANGED
    assert bulk_helpers.held(ready, ready.qa)[NAMES[0]] == before
    assert bulk_helpers.fresh(restore).left == 1


def test_a_key_that_is_gone_is_not_made_again(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people), people)
    drop(ready, NAMES[1])
    finished(bulk_requests.start(restore, by=people.operator))
    assert bulk_helpers.outcomes(restore)[NAMES[1]] == Outcome.GONE
    assert NAMES[1] not in bulk_helpers.held(ready, ready.qa)


def test_a_key_that_goes_after_the_write_is_not_made_again(
    ready: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people), people)
    monkeypatch.setattr(timing, "SETTLE", 3_600.0)
    run = bulk_requests.start(restore, by=people.operator)
    while not ready.cloudflare.calls("bulk_put"):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    drop(ready, NAMES[2])
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    finished(run)
    entry = RestoreEntry.objects.get(restore=restore, name=NAMES[2])
    assert (entry.outcome, entry.compared) == (Outcome.LOST, RestoreEntry.Compared.ABSENT)
    assert NAMES[2] not in bulk_helpers.held(ready, ready.qa)
    assert [one.restore for one in deleted_keys.bulk_changes(ready.qa, NAMES[2])] == [restore]


def test_a_key_that_goes_before_it_is_sent_again_was_sent(
    ready: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.cloudflare.fault("bulk_put", "says_done", names=[NAMES[1]])
    repeat = restore_chunks.repeat_chunk

    def repeat_and_drop(chunk: RestoreChunk, *, attempt: int) -> None:
        repeat(chunk, attempt=attempt)
        drop(ready, NAMES[1])

    monkeypatch.setattr(restore_chunks, "repeat_chunk", repeat_and_drop)
    restore = bulk_helpers.done(ready.qa, people)
    assert bulk_helpers.outcomes(restore)[NAMES[1]] == Outcome.LOST


def test_nothing_more_is_written_shortly_before_the_keys_expire(
    ready: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = BulkWish(Restore.Operation.EXPIRATION, lifetime=3_600)
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people, wish), people)
    run = bulk_requests.start(restore, by=people.operator)
    at = bulk_helpers.fresh(restore).bulk.expiration or 0
    restore_helpers.move_time(ready, monkeypatch, at - 899)
    run = finished(run)
    assert (run.state, run.error_code, ready.cloudflare.calls("bulk_put")) == (Run.State.FAILED, "expires_soon", [])
    bulk_requests.end_early(bulk_helpers.fresh(restore), by=people.operator)
    assert finished(run).state == Run.State.SUCCEEDED
    assert {bulk_helpers.held(ready, ready.qa)[name].expiration for name in NAMES} == {None}


def test_a_key_with_less_than_a_minute_is_not_marked(
    ready: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = in_seconds(3_000)
    ready.put(ready.qa, PAGES[0], b"x", expiration=at)
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people, MARK), people)
    run = bulk_requests.start(restore, by=people.operator)
    restore_helpers.move_time(ready, monkeypatch, at - 30)
    finished(run)
    assert bulk_helpers.outcomes(restore)[PAGES[0]] == Outcome.SOON


def test_a_write_that_a_stale_read_hides_is_sent_again_with_the_same_time(
    ready: make.Estate, people: make.People
) -> None:
    ready.cloudflare.fault("bulk_put", "says_done", names=[NAMES[1]])
    restore = bulk_helpers.done(ready.qa, people)
    assert restore.written == 3
    assert {bulk_helpers.held(ready, ready.qa)[name].expiration for name in NAMES} == {restore.bulk.expiration}


def test_a_key_that_has_it_already_is_not_written(ready: make.Estate, people: make.People) -> None:
    at = in_seconds(2 * DAY)
    wish = BulkWish(Restore.Operation.EXPIRATION, until=at)
    ready.put(ready.qa, NAMES[0], b"\x00\xff" + NAMES[0].encode(), expiration=at, metadata='{"v":1.0,"w":"x"}')
    restore = bulk_helpers.done(ready.qa, people, wish)
    assert (restore.written, restore.equal, restore.left) == (2, 1, 0)


def test_only_keys_without_an_expiration_are_chosen(ready: make.Estate, people: make.People) -> None:
    ready.put(ready.qa, NAMES[0], b"x", expiration=in_seconds(DAY))
    cleanup_helpers.scan(ready.qa)
    restore = bulk_helpers.prepared(ready.qa, people, scope=Scope.NEVER)
    assert list(bulk_helpers.outcomes(restore)) == list(NAMES[1:])
    assert (restore.bulk.chosen_names, restore.names) == (2, 2)


def test_marked_keys_lack_nothing(ready: make.Estate, people: make.People) -> None:
    ready.put(ready.qa, PAGES[0], b"x", metadata='{"stale":"1"}')
    cleanup_helpers.scan(ready.qa)
    restore = bulk_helpers.prepared(ready.qa, people, MARK, scope=Scope.LACKING)
    assert list(bulk_helpers.outcomes(restore)) == list(PAGES[1:])


def test_keys_of_a_nested_family_are_none_of_it(estate: make.Estate, people: make.People) -> None:
    make.family(f"{PREFIX}b", Category.LEGACY)
    bulk_helpers.ready(estate)
    assert list(bulk_helpers.outcomes(bulk_helpers.prepared(estate.qa, people))) == [NAMES[0], NAMES[2]]


def test_the_backup_holds_exactly_the_chosen_keys_and_is_verified(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(ready.qa, people)
    backup = restore.generation
    assert (backup.status, backup.purpose, backup.category) == (Generation.Status.VERIFIED, "change", "cache")
    assert list(backup.entries.order_by("index").values_list("name", flat=True)) == list(NAMES)
    assert ready.cloudflare.calls("bulk_put") == []


def test_a_key_that_is_gone_at_the_backup_makes_it_partial_and_the_page_says_so(
    ready: make.Estate, people: make.People
) -> None:
    drop(ready, NAMES[0])
    restore = bulk_helpers.prepared(ready.qa, people)
    assert restore.state == Restore.State.PREPARING
    assert "Some keys are gone already" in restore.shown_returned_because
    bulk_requests.give_up(restore, by=people.operator)
    assert bulk_helpers.fresh(restore).state == Restore.State.ENDED


def test_the_next_scan_knows_the_writes_as_ours(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.done(ready.qa, people)
    kept = Key.objects.filter(namespace=ready.qa, name__in=NAMES).values_list("expiration", flat=True)
    assert set(kept) == {restore.bulk.expiration}
    cleanup_helpers.scan(ready.qa)
    newest = Scan.objects.filter(namespace=ready.qa).latest("pk")
    assert (newest.changed, newest.unexplained, newest.unexpected) == (0, 0, 0)


def test_its_backup_explains_no_later_change_of_a_key(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.done(ready.qa, people)
    assert own_operations.of_names(ready.qa, NAMES, restore.created_at, clock.now()) == {}


def test_the_log_has_every_step_and_the_verification_compares_it(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.accepted(ready.qa, people)
    entries = Entry.objects.filter(subject=f"bulkchange:{restore.pk}").order_by("seq")
    assert list(entries.values_list("action", flat=True)) == [
        "bulk.prepared", "bulk.backed_up", "bulk.submitted", "bulk.approved", "bulk.started",
        "restore.chunk_intended", "restore.chunk_settled", "bulk.finished", "bulk.accepted",
    ]  # fmt: skip
    assert claims.compare().problems == ()


def test_it_is_undone_by_a_restore_from_its_backup(ready: make.Estate, people: make.People) -> None:
    before = bulk_helpers.held(ready, ready.qa)
    restore = bulk_helpers.done(ready.qa, people)
    restore_helpers.done(restore.generation, people, on_conflict=restore_helpers.Policy.OVERWRITE)
    assert bulk_helpers.held(ready, ready.qa) == before


def test_the_evidence_holds_what_is_written_and_no_value(ready: make.Estate, people: make.People) -> None:
    request = bulk_helpers.submitted(bulk_helpers.prepared(ready.qa, people, MARK), people)
    shown = json.loads(request.evidence)
    assert (shown["action"], shown["operation"], shown["member"], shown["value"]) == (
        "bulk_change", "mark", "stale", MARK.value,
    )  # fmt: skip
    assert (shown["names"]["count"], shown["chosen"]["count"], shown["generation"]["status"]) == (3, 3, "verified")
    assert request.kind == "bulk_change"
    assert EXPIRY.lifetime == DAY
