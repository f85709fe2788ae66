"""Putting keys back. `tests.judge` looks at the journal of the fake Cloudflare after every test."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count, product
from typing import Any

import pytest
from django.db.models.functions import Now

from audit.models import Entry as AuditEntry
from backups import archive
from backups.execution import prepaid
from backups.execution.live_values import Live, live_values
from backups.generations import start as generation_start
from backups.generations.reader import Wanted
from backups.generations.scope import BackupRefused
from backups.models import Generation, Restore, RestoreChunk, RestoreEntry
from backups.restores import (
    chunks as restore_chunks,
    requests as restore_requests,
    selection as restore_selection,
    verification as restore_verification,
    write as restore_write,
)
from backups.restores.moves import RestoreRefused
from backups.restores.plan import ChunkPlan
from backups.restores.write import Putter
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry, TooLate, TransportError
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from kvops.models import (
    ApprovalRequest,
    Category,
    Environment,
    Namespace,
    Notification,
    NotificationEvent,
    Run,
)
from kvops.runs import driver as run_driver, emergency, lease as run_lease, outcomes
from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.deletion import cut_off
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy
from tests.fakes.namespaces import Item
from tests.fakes.s3 import FakeS3
from tests.gate.world import tampered

pytestmark = pytest.mark.django_db
State = Restore.State
NAMES = ("master:a:1", "master:a:2", "master:a:3")
ENTRIES = tuple(KvEntry(name, f"value of {name}".encode(), None, None) for name in NAMES)


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def backed_up(estate: make.Estate, *entries: KvEntry) -> Generation:
    """A verified copy of these, or of three masters, in QA."""
    restore_helpers.put(estate, estate.qa, *(entries or ENTRIES))
    return restore_helpers.verified_backup(estate.qa)


def lost(estate: make.Estate, *entries: KvEntry) -> tuple[Generation, dict[str, Item]]:
    """The same, deleted past the product; and what was there."""
    generation = backed_up(estate, *entries)
    before = restore_helpers.held(estate, estate.qa)
    restore_helpers.wipe(estate, estate.qa)
    return generation, before


def run_of(restore: Restore) -> Run:
    return Run.objects.get(subject=f"restore:{restore.pk}", kind=Run.Kind.RESTORE)


# The way it should go


def test_what_was_lost_reappeared(estate: make.Estate, people: make.People) -> None:
    generation, before = lost(estate)
    restore = restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert (restore.state, restore.written, restore.equal, restore.left) == (State.DONE, 3, 0, 0)


@pytest.mark.hazard("B2")
def test_odd_names_values_and_metadata_come_back_as_they_were(estate: make.Estate, people: make.People) -> None:
    soon = int(time.time()) + 86_400
    odd = [
        KvEntry("master:/ % \n ? # & + \\", b"", None, None),
        KvEntry("master:\u00e9", b"composed", soon, '{"a":1.0,"a":1e400}'),
        KvEntry("master:e\u0301", b"decomposed", None, "[1,null]"),
        KvEntry("master:\U0001f600/..", b"\xff\xfe\x00", None, '"text"'),
        KvEntry("master:" + "x" * 505, "日本\x00\x01".encode(), None, "12.50"),
        KvEntry("master:..", b"\r\n--\r\n", soon + 1, "true"),
    ]
    generation, before = lost(estate, *odd)
    restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert {call.route for call in estate.cloudflare.journal if call.written} == {"bulk_put", "put_value"}


def test_a_byte_order_mark_comes_back_where_the_family_is_read_exactly(
    estate: make.Estate, people: make.People
) -> None:
    make.change_families("master:", read="exact")
    generation, before = lost(estate, KvEntry("master:bom", b"\xef\xbb\xbftext", None, None), *ENTRIES)
    restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before


def test_only_what_is_under_the_prefix_is_restored(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate, *ENTRIES, KvEntry("master:b:1", b"b", None, None))
    restore_helpers.done(generation, people, prefix="master:b:")
    assert set(restore_helpers.held(estate, estate.qa)) == {"master:b:1"}


def test_only_listed_names_are_restored(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    restore_helpers.done(generation, people, names=[NAMES[2], NAMES[0]])
    assert set(restore_helpers.held(estate, estate.qa)) == {NAMES[0], NAMES[2]}


def test_names_that_are_not_in_the_backup_are_refused(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    with pytest.raises(RestoreRefused, match=r"not in the backup: 1. The first is master:b:1"):
        restore_helpers.prepared(generation, people, names=[NAMES[0], "master:b:1"])
    assert Restore.objects.count() == 0


@pytest.mark.hazard("B2")
@pytest.mark.parametrize("name", ["", "master:a\0", "master:\ud800"], ids=ascii)
def test_names_that_no_backup_can_hold_are_refused_with_a_sentence(
    estate: make.Estate, people: make.People, name: str
) -> None:
    generation, _ = lost(estate)
    with pytest.raises(RestoreRefused, match=r"contain NUL or are not valid UTF-8: 1\."):
        restore_helpers.prepared(generation, people, names=[NAMES[0], name])
    assert Restore.objects.count() == 0


@pytest.mark.hazard("B2")
@pytest.mark.parametrize("prefix", ["master:\0", "\ud800"], ids=ascii)
def test_a_prefix_that_no_name_can_begin_with_is_refused(estate: make.Estate, people: make.People, prefix: str) -> None:
    generation, _ = lost(estate)
    with pytest.raises(RestoreRefused, match="A prefix contains NUL or is not valid UTF-8"):
        restore_helpers.prepared(generation, people, prefix=prefix)


def test_qa_s_backup_can_go_into_production_with_a_warning(estate: make.Estate, people: make.People) -> None:
    restore = restore_helpers.prepared(backed_up(estate), people, namespace=estate.production)
    restore_helpers.started(restore, people)
    make.work()
    assert set(restore_helpers.held(estate, estate.production)) == set(NAMES)
    assert '"restore_elsewhere"' in restore_helpers.request_of(restore).evidence


def test_production_s_keys_go_into_no_other_environment(estate: make.Estate, people: make.People) -> None:
    restore_helpers.put(estate, estate.production, *ENTRIES)
    generation = restore_helpers.verified_backup(estate.production)
    with pytest.raises(RestoreRefused, match="no family of SETTINGS has qa_may_take"):
        restore_helpers.prepared(generation, people, namespace=estate.qa)


def test_another_binding_is_refused(estate: make.Estate, people: make.People) -> None:
    other = Namespace.objects.create(environment=estate.qa.environment, binding="OTHER", namespace_id="3" * 32)
    with pytest.raises(RestoreRefused, match="can only be restored into SETTINGS"):
        restore_helpers.prepared(backed_up(estate), people, namespace=other)


@pytest.mark.usefixtures("not_read_back")
def test_a_backup_that_was_not_verified_is_refused(estate: make.Estate, people: make.People) -> None:
    restore_helpers.put(estate, estate.qa, *ENTRIES)
    with pytest.raises(AssertionError, match="complete"):
        restore_helpers.verified_backup(estate.qa)
    with pytest.raises(RestoreRefused, match="Only a verified backup"):
        restore_helpers.prepared(Generation.objects.get(), people)


def test_the_preview_counts_what_would_happen(estate: make.Estate, people: make.People) -> None:
    now = int(time.time())
    generation, _ = lost(
        estate,
        *ENTRIES,
        KvEntry("master:late", b"x", now + 3_600, None),
        KvEntry("master:soon", b"x", now + 3_600, None),
    )
    restore_helpers.put(estate, estate.qa, ENTRIES[0], KvEntry(NAMES[1], b"other", None, None))
    restore = restore_helpers.prepared(generation, people)
    assert restore.found == {"equal": 1, "value": 1, "absent": 3}
    assert estate.cloudflare.journal_routes() & {("PUT", "bulk_put"), ("PUT", "put_value")} == set()


# Expirations


@pytest.mark.hazard("B15")
@pytest.mark.parametrize(
    ("left", "outcome"),
    [(-1, "expired"), (0, "expired"), (1, "soon"), (59, "soon"), (61, "written"), (119, "written"), (3_600, "written")],
)
def test_an_expiration_is_kept_exactly_or_the_key_is_listed(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, left: int, outcome: str
) -> None:
    at = int(time.time()) + 4_000
    generation, before = lost(estate, KvEntry(NAMES[0], b"x", at, None), ENTRIES[1])
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    restore_helpers.move_time(estate, monkeypatch, at - left)
    make.work()
    run.refresh_from_db()
    assert (run.state, restore_helpers.outcomes(restore)) == ("succeeded", {NAMES[0]: outcome, NAMES[1]: "written"})
    held = restore_helpers.held(estate, estate.qa)
    assert held == (before if outcome == "written" else {NAMES[1]: before[NAMES[1]]})


@pytest.mark.hazard("B15")
def test_sixty_seconds_left_is_for_cloudflare_to_decide(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = int(time.time()) + 4_000
    generation, _ = lost(estate, KvEntry(NAMES[0], b"x", at, None), ENTRIES[1])
    restore = restore_helpers.prepared(generation, people)
    restore_helpers.started(restore, people)
    restore_helpers.move_time(estate, monkeypatch, at - 60)
    estate.cloudflare.clock = lambda: at - 59.5  # it is a little later there
    make.work()
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "soon", NAMES[1]: "written"}


@pytest.mark.hazard("B15")
def test_a_key_that_expires_before_it_is_read_back_is_reported_as_expired(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = int(time.time()) + 4_000
    generation, _ = lost(estate, KvEntry(NAMES[0], b"x", at, None), ENTRIES[1])
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    restore_helpers.move_time(estate, monkeypatch, at - 100)
    while not writes(estate):
        run_driver.drive(run.pk)
    restore_helpers.move_time(estate, monkeypatch, at + 1)
    make.work()
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "expired", NAMES[1]: "written"}
    assert [str(one.get_outcome_display()) for one in restore.entries.filter(name=NAMES[0])] == ["past its expiration"]


# Conflicts: five kinds by three policies

OTHERS: dict[str, Callable[[KvEntry], KvEntry | None]] = {
    "absent": lambda _: None,
    "equal": lambda one: one,
    "value": lambda one: KvEntry(one.name, b"newer", one.expiration, one.metadata),
    "metadata": lambda one: KvEntry(one.name, one.data, one.expiration, '{"v":2}'),
    "expiration": lambda one: KvEntry(one.name, one.data, 4_000_000_000, one.metadata),
}
CONFLICTS = ("value", "metadata", "expiration")


def conflict(estate: make.Estate, kind: str) -> tuple[Generation, dict[str, Item]]:
    """A copy of three keys, of which the second is now as `kind` says; and what KV holds."""
    generation, _ = lost(estate)
    now = OTHERS[kind](ENTRIES[1])
    restore_helpers.put(estate, estate.qa, ENTRIES[0], *([now] if now else []))
    return generation, restore_helpers.held(estate, estate.qa)


@pytest.mark.hazard("B16")
@pytest.mark.parametrize(("kind", "policy"), [*product(OTHERS, Policy)], ids=str)
def test_what_is_there_is_treated_as_was_chosen(
    estate: make.Estate, people: make.People, kind: str, policy: Policy
) -> None:
    generation, now = conflict(estate, kind)
    backups = {one.name: Item(one.name, one.data, one.expiration, one.metadata) for one in ENTRIES}
    if kind in CONFLICTS and policy is Policy.STOP:
        restore = restore_helpers.prepared(generation, people, on_conflict=policy)
        with pytest.raises(RestoreRefused, match="differ from the backup: 1"):
            restore_requests.submit(restore, reason="no longer needed", by=people.operator)
        assert restore_helpers.held(estate, estate.qa) == now
        return
    restore = restore_helpers.done(generation, people, on_conflict=policy)
    kept = now[NAMES[1]] if kind in CONFLICTS and policy is Policy.SKIP else backups[NAMES[1]]
    assert restore_helpers.held(estate, estate.qa) == {**backups, NAMES[1]: kept}
    outcome = {"equal": "equal", "absent": "written"}.get(kind, kind if policy is Policy.SKIP else "written")
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "equal", NAMES[1]: outcome, NAMES[2]: "written"}


@pytest.mark.hazard("B16")
def test_what_is_overwritten_is_in_a_verified_backup_first(estate: make.Estate, people: make.People) -> None:
    generation, now = conflict(estate, "value")
    restore = restore_helpers.done(generation, people, on_conflict=Policy.OVERWRITE)
    assert restore.safety is not None
    assert (restore.safety.status, restore.safety.purpose, restore.safety.keys) == ("verified", "restore", 1)
    back = restore_helpers.done(restore.safety, people, on_conflict=Policy.OVERWRITE)
    assert restore_helpers.held(estate, estate.qa)[NAMES[1]] == now[NAMES[1]]
    assert back.written == 1


def test_the_approval_says_that_keys_are_overwritten(estate: make.Estate, people: make.People) -> None:
    generation, _ = conflict(estate, "value")
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.OVERWRITE)
    request = restore_requests.submit(restore, reason="no longer needed", by=people.operator)
    assert '"on_conflict":"overwrite"' in request.evidence
    assert '"overwritten":{"count":1,"sha256":"' in request.evidence
    assert '{"code":"restore_overwrites","count":1}' in request.evidence


def test_a_key_that_appears_before_a_stopping_restore_begins_stops_it(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people, on_conflict=Policy.STOP), people)
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[2], b"newer", None, None))
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "conflict")
    assert set(restore_helpers.held(estate, estate.qa)) == {NAMES[2]}


@pytest.mark.parametrize("policy", Policy)
def test_a_key_that_appears_right_before_the_write_is_never_overwritten(
    estate: make.Estate, people: make.People, policy: Policy
) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people, on_conflict=policy), people)
    looks = iter(range(100))

    def appear(_: object) -> None:
        if next(looks) == (1 if policy is Policy.STOP else 0):  # after the first look at everything
            restore_helpers.put(estate, estate.qa, KvEntry(NAMES[2], b"newer", None, None))

    estate.cloudflare.hook("bulk_get", appear)
    make.work()
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert restore_helpers.held(estate, estate.qa)[NAMES[2]].data == b"newer"


def test_a_key_that_changes_after_it_was_backed_up_is_not_overwritten(estate: make.Estate, people: make.People) -> None:
    generation, _ = conflict(estate, "value")
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.OVERWRITE)
    restore_helpers.started(restore, people)
    run_driver.drive(run_of(restore).pk)  # the copy is begun
    Run.objects.filter(pk=run_of(restore).pk).update(wake_at=Now() + timing_of(3_600))
    drive_backups()
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[1], b"newest", None, None))
    make.work()
    assert restore_helpers.outcomes(restore)[NAMES[1]] == "changed"
    assert restore_helpers.held(estate, estate.qa)[NAMES[1]].data == b"newest"


def timing_of(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)


def drive_backups() -> None:
    """Do what is queued of copies and their verification."""
    for _ in range(20):
        for run in Run.objects.open().filter(kind__in=[Run.Kind.BACKUP, Run.Kind.VERIFY]):
            run_driver.drive(run.pk)


# Answers that are lost, late or wrong


def writes(estate: make.Estate) -> list[set[str]]:
    """The names of each call that wrote something."""
    return [set(call.written) for call in estate.cloudflare.journal if call.written]


@pytest.mark.parametrize("kind", ["effect_then_error", "effect_then_reset", "effect_then_html", "effect_then_timeout"])
def test_a_lost_answer_is_settled_by_reading_and_never_sent_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(timing, "REQUEST_TIMEOUT", 0.3)
    generation, before = lost(estate)
    estate.cloudflare.fault("bulk_put", kind)
    restore = restore_helpers.done(generation, people)
    assert (restore_helpers.held(estate, estate.qa), writes(estate)) == (before, [set(NAMES)])
    assert set(restore_helpers.outcomes(restore).values()) == {"written"}


@pytest.mark.parametrize("kind", ["error", "html_524", "reset"])
def test_an_answer_without_an_effect_is_tried_again_after_reading(
    estate: make.Estate, people: make.People, kind: str
) -> None:
    generation, before = lost(estate)
    estate.cloudflare.fault("bulk_put", kind)
    restore = restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert [chunk.attempt for chunk in restore.chunks.order_by("number")] == [1, 2]


@pytest.mark.parametrize("kind", ["partial", "wrong_count", "unknown_names"])
def test_what_was_not_written_everywhere_is_written_again(estate: make.Estate, people: make.People, kind: str) -> None:
    generation, before = lost(estate)
    estate.cloudflare.fault("bulk_put", kind)
    restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before


@pytest.mark.hazard("B7")
def test_of_a_write_whose_answer_contradicts_itself_the_team_is_told(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    estate.cloudflare.fault("bulk_put", "wrong_count")
    restore = restore_helpers.done(generation, people)
    told = Notification.objects.get(event=NotificationEvent.ANSWER_CONTRADICTED, person=people.reviewer)
    assert (told.subject, told.link) == (f"restore:{restore.pk}", f"/restores/{restore.pk}/")
    assert "contradicts" in AuditEntry.objects.get(action="restore.chunk_settled").details["problem"]


def test_a_restore_whose_writer_cannot_connect_gives_up_and_can_be_gone_on_with(
    estate: make.Estate, people: make.People
) -> None:
    generation, before = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    with cut_off.writers():
        make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, restore_helpers.held(estate, estate.qa)) == ("failed", "gave_up", {})
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    assert restore_helpers.held(estate, estate.qa) == before


def test_a_backup_of_what_would_be_overwritten_that_cannot_be_made_is_not_tried_for_ever(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, now = conflict(estate, "value")
    run = restore_helpers.started(restore_helpers.prepared(generation, people, on_conflict=Policy.OVERWRITE), people)

    def refuse(*_: object, **__: object) -> None:
        raise BackupRefused("The database's clock is behind the newest backup.")

    monkeypatch.setattr(generation_start, "create_backup", refuse)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, restore_helpers.held(estate, estate.qa)) == ("failed", "gave_up", now)
    assert "behind the newest backup" in run.error


def test_a_name_that_cannot_be_read_back_is_not_tried_for_ever(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, _ = lost(estate)

    def read(*args: Any) -> Iterator[tuple[Wanted, Live]]:
        if [one.name for one in args[2]] == [NAMES[2]]:
            raise TransportError("No answer.", outcome_unknown=True)
        return live_values(*args)

    monkeypatch.setattr(restore_verification, "BLOCK", 1)
    monkeypatch.setattr(restore_verification, "live_values", read)
    estate.cloudflare.fault("bulk_put", "reset")
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, len(estate.cloudflare.calls("bulk_put"))) == ("failed", "gave_up", 1)


def test_somebody_who_writes_after_us_is_reported(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    while not writes(estate):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[0], b"newer", None, None))
    make.work()
    restore = Restore.objects.get()
    assert restore_helpers.outcomes(restore)[NAMES[0]] == "different"
    assert restore_helpers.held(estate, estate.qa)[NAMES[0]].data == b"newer"
    assert restore.entries.get(name=NAMES[0]).compared == "different"


@pytest.mark.hazard("B16")
def test_a_key_that_only_seemed_to_be_there_is_written_after_all(estate: make.Estate, people: make.People) -> None:
    generation, before = lost(estate)
    restore_helpers.put(estate, estate.qa, ENTRIES[0])  # an old state, as KV may show it for a minute
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    while not writes(estate):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    restore_helpers.wipe(estate, estate.qa, NAMES[0])
    make.work()
    assert restore_helpers.held(estate, estate.qa) == before


def test_a_worker_that_dies_after_the_call_leaves_it_to_be_read(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, before = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)

    def die(*_: object, **__: object) -> None:
        raise outcomes.LeaseLost("gone")

    with monkeypatch.context() as patch:
        patch.setattr(restore_write.Putter, "_written", die)
        while not writes(estate):
            Run.objects.filter(pk=run.pk).update(wake_at=None)
            run_driver.drive(run.pk)
    assert RestoreChunk.objects.get().state == "intended"
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(hours=1))
    make.work()
    assert (restore_helpers.held(estate, estate.qa), writes(estate)) == (before, [set(NAMES)])


def test_chunks_are_small_in_names_and_bytes(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_chunks, "CHUNK", 2)
    monkeypatch.setattr(restore_chunks, "CHUNK_BYTES", 1_000)
    big = [KvEntry(f"master:b:{n}", b"x" * 990, None, None) for n in range(2)]
    generation, before = lost(estate, *ENTRIES, *big)
    restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert [len(names) for names in writes(estate)] == [2, 1, 1, 1]


def test_many_entries_that_are_written_singly_are_halved(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_write, "MANY", 2)
    generation, before = lost(estate, *(KvEntry(f"master:a:{n}", b"x", None, f"{n}") for n in range(5)))
    restore = restore_helpers.done(generation, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert restore.left == 0


def test_more_entries_that_are_written_singly_than_the_request_limit_allows_at_once_are_halved(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_write, "MANY", 8)
    generation, before = lost(estate, *(KvEntry(f"master:a:{n:02}", b"x", None, f"{n}") for n in range(30)))
    monkeypatch.setattr(timing, "BUDGET_CALLS", 80)  # thirty of them would need 91
    restore = restore_helpers.done(generation, people)
    assert (restore_helpers.held(estate, estate.qa), restore.left) == (before, 0)


def test_a_single_name_whose_read_grows_old_after_the_intent_ends_the_restore(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = backed_up(estate, KvEntry("master:a", b"x", None, None))
    restore_helpers.wipe(estate, estate.qa, "master:a")
    intend = Putter._intend

    def slowly(self: Putter, chunk: RestoreChunk, plan: ChunkPlan) -> None:
        intend(self, chunk, plan)
        plan.since -= timing.READ_FRESH

    monkeypatch.setattr(Putter, "_intend", slowly)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("too_slow", [])
    monkeypatch.setattr(Putter, "_intend", intend)
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    assert writes(estate) == [{"master:a"}]


def test_a_write_that_could_not_be_sent_in_time_is_made_smaller(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, before = lost(estate)
    real, tries = KVWriter.bulk_put, count()

    def late(self: KVWriter, namespace_id: str, entries: Sequence[KvEntry], *, until: float) -> BulkOutcome:
        if next(tries) == 0:
            raise TooLate("connecting took so long")
        return real(self, namespace_id, entries, until=until)

    monkeypatch.setattr(KVWriter, "bulk_put", late)
    restore = restore_helpers.done(generation, people)
    assert (restore_helpers.held(estate, estate.qa), restore.left) == (before, 0)
    assert [len(names) for names in writes(estate)] == [2, 1]


def test_the_gap_from_the_read_to_the_last_write_is_kept(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate, *(KvEntry(f"master:a:{n}", b"x", None, f"{n}") for n in range(4)))
    estate.cloudflare.latency = 0.05
    restore = restore_helpers.done(generation, people)
    gaps = [chunk.gap_ms or 0 for chunk in restore.chunks.order_by("number")]
    assert 200 <= gaps[0] < 5_000


@pytest.mark.parametrize(("most", "chunks"), [(200, 1), (4, 3)])
def test_more_is_reserved_for_binary_values_and_only_then_chunks_get_smaller(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, most: int, chunks: int
) -> None:
    binary = [KvEntry(f"master:{number}", bytes([255, number]), None, None) for number in range(8)]
    generation = backed_up(estate, *binary)
    restore_helpers.wipe(estate, estate.qa, binary[0].name)
    monkeypatch.setattr(prepaid, "SPARE", 4)
    monkeypatch.setattr(prepaid, "SPARE_SINGLY", most)
    restore = restore_helpers.done(generation, people)
    assert (restore.written, restore.equal) == (1, 7)
    assert RestoreChunk.objects.filter(restore=restore).count() == chunks


# What must hold


@pytest.mark.parametrize("what", ["the policy", "the reason"])
def test_what_changes_while_a_refused_chunk_waits_ends_the_restore(
    estate: make.Estate, people: make.People, what: str
) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    estate.cloudflare.fault("bulk_put", "429" if what == "the policy" else "refusal", status=403, seconds=0)
    while not RestoreChunk.objects.exists():
        run_driver.drive(run.pk)
    if what == "the policy":
        make.another_policy()
    else:
        tampered(Restore.objects.get(run=run), reason="another as agreed")
        run_driver.resume(run, actor=people.operator.actor)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("stale", [])


def test_a_stop_pressed_before_the_second_chunk_leaves_the_first_settled(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_chunks, "CHUNK", 1)
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    real = approval_gate.still_valid

    def press_first(approval: ApprovalRequest) -> None:
        if writes(estate) and emergency.stop_in_force(estate.qa.environment) is None:
            emergency.press(estate.qa.environment, by=people.auditor)
        real(approval)

    monkeypatch.setattr(approval_gate, "still_valid", press_first)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, len(writes(estate))) == ("emergency_stop", 1)
    assert list(RestoreChunk.objects.order_by("number").values_list("state", flat=True)) == ["settled", "planned"]


def test_a_namespace_that_was_renamed_meanwhile_stops_the_run(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    estate.cloudflare.namespace(estate.qa.namespace_id).title = "another as agreed"
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("wrong_target", [])


def test_a_backup_that_was_found_damaged_stops_the_run(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    Generation.objects.filter(pk=generation.pk).update(status="damaged")
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("stale", [])


def test_a_backup_that_is_found_damaged_meanwhile_stops_the_rest(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_chunks, "CHUNK", 1)
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    still_valid, asked = approval_gate.still_valid, iter(range(9))

    def damage(request: ApprovalRequest) -> None:
        still_valid(request)
        if next(asked) == 1:  # before the second chunk
            Generation.objects.filter(pk=generation.pk).update(status="damaged")

    monkeypatch.setattr(approval_gate, "still_valid", damage)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("backup_damaged", [{NAMES[0]}])


def test_a_value_that_is_not_the_backed_up_one_is_never_written(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    key = generation.object_keys()[0]
    estate.s3.objects[key] = estate.s3.objects[key].replace(b"value of master:a:2", b"VALUE of master:a:2")
    make.work()
    run.refresh_from_db()
    assert (run.error_code, writes(estate)) == ("backup_damaged", [])


def test_names_changed_past_the_database_s_guards_are_not_started(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.approved(restore_helpers.prepared(generation, people), people)
    monkeypatch.setattr("backups.restores.moves.archive.names_sha256", lambda _: "0" * 64)
    with pytest.raises(RestoreRefused, match="changed after it was fixed"):
        restore_requests.start(restore, by=people.operator)


def test_a_restore_with_nothing_to_write_is_not_submitted(estate: make.Estate, people: make.People) -> None:
    restore = restore_helpers.prepared(backed_up(estate), people)
    with pytest.raises(RestoreRefused, match="nothing to write"):
        restore_requests.submit(restore, reason="no longer needed", by=people.operator)


def test_a_comparison_of_yesterday_is_made_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    with monkeypatch.context() as patch:
        patch.setattr(timing, "SCAN_FRESH", -1.0)
        with pytest.raises(RestoreRefused, match="Compare again"):
            restore_requests.submit(restore, reason="no longer needed", by=people.operator)
    restore_selection.compare_again(restore, by=people.operator)
    make.work()
    assert restore_helpers.fresh(restore).state == State.PREPARED


def test_a_rejected_restore_can_be_submitted_again(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    request = restore_requests.submit(restore, reason="no longer needed", by=people.operator)
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="too many as agreed")
    restore = restore_helpers.fresh(restore)
    assert (restore.state, restore.returned_because) == (State.PREPARED, "The request is rejected. too many as agreed")
    assert restore_requests.submit(restore, reason="fewer keys than asked", by=people.operator).pk != request.pk


def test_a_restore_that_lies_still_can_be_ended_early(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    restore_requests.end_early(restore, by=people.operator)
    make.work()
    assert set(restore_helpers.outcomes(restore).values()) == {"stopped"}
    assert (restore_helpers.fresh(restore).state, writes(estate)) == (State.DONE, [])


def test_a_restore_is_ended_early_although_its_backup_lies_in_another_bucket(
    estate: make.Estate, people: make.People
) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    with FakeS3("another") as another:
        Environment.objects.filter(slug="qa").update(r2_bucket="another", r2_endpoint=another.endpoint)
        make.work()
        run.refresh_from_db()
        assert (run.error_code, "lies in bucket" in run.error) == ("store", True)
        restore_requests.end_early(restore, by=people.operator)
        make.work()
    assert (restore_helpers.fresh(restore).state, writes(estate)) == (State.DONE, [])


def test_who_resumes_a_restore_that_stops_at_differences_has_all_looked_at_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.restores.run.BLOCK", 1)
    generation, _ = lost(estate)
    run = restore_helpers.started(restore_helpers.prepared(generation, people, on_conflict=Policy.STOP), people)
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[1], b"another as agreed", None, None))
    make.work()
    restore_helpers.wipe(estate, estate.qa, NAMES[1])
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[0], b"another as agreed", None, None))
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, NAMES[0] in run.error, writes(estate)) == ("conflict", True, [])


def test_what_a_deletion_sent_just_now_is_waited_for(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KV may still show it, and it would count as there already."""
    cleanup_helpers.estate_with_masters(estate)
    make.family("stock:", Category.LEGACY)
    estate.put(estate.qa, "stock:x")
    backups = [restore_helpers.verified_backup(estate.qa, prefix) for prefix in ("master:", "stock:")]
    restore_helpers.wipe(estate, estate.qa, "stock:x")
    cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    prepared = [restore_helpers.prepared(backup, people) for backup in backups]
    run, another = (restore_helpers.started(restore, people) for restore in prepared)
    monkeypatch.setattr(timing, "STALE", 300.0)
    for each in (run, another):
        run_driver.drive(each.pk)
        each.refresh_from_db()
    assert (run.note, another.note) == ("Waiting: KV may still show the deleted keys.", "Writing.")
    assert run.wake_at is not None
    assert 250 < clock.seconds_until(run.wake_at) < 300


@pytest.mark.parametrize("looked", [False, True])
def test_ended_early_no_old_answer_passes_for_a_key_that_was_not_written(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, *, looked: bool
) -> None:
    """Nor does one that came before it was ended."""
    estate.cloudflare.add_remembering(make.ACCOUNTS["qa"], make.NAMESPACES["qa"], estate.qa.title)
    generation, before = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    restore_helpers.stop_in_doubt(estate, run)
    written = time.time()
    monkeypatch.setattr(timing, "STALE", 300.0)
    estate.cloudflare.lag = lambda _route, _name: 250.0
    restore_helpers.move_time(estate, monkeypatch, written + 1)
    if looked:
        look_and_stop(run, monkeypatch)
        assert set(restore_helpers.outcomes(restore).values()) == {"again"}
    restore_requests.end_early(restore, by=people.operator)
    for _ in range(3):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    restore_helpers.move_time(estate, monkeypatch, written + 301)
    make.work()
    assert set(restore_helpers.outcomes(restore).values()) == {"written"}
    assert (restore_helpers.held(estate, estate.qa), len(writes(estate))) == (before, 1)


def look_and_stop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run go on until it has compared a chunk, and stop it there."""
    real = restore_chunks.settled

    def stop_then(chunk: RestoreChunk, *, lease: run_lease.Lease) -> None:
        real(chunk, lease=lease)
        Run.objects.filter(pk=run.pk).update(stop_requested_by="tests")

    with monkeypatch.context() as patch:
        patch.setattr(restore_chunks, "settled", stop_then)
        run_driver.resume(run, actor=make.SETUP)
        make.work()


def test_an_early_end_that_is_refused_changes_nothing(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    emergency.press(estate.qa.environment, by=people.auditor)
    with pytest.raises(run_driver.NotResumable, match="QA is stopped"):
        restore_requests.end_early(restore, by=people.operator)
    run.refresh_from_db()
    assert "ending" not in run.cursor


def test_settings_are_restored_but_never_overwritten(estate: make.Estate, people: make.People) -> None:
    generation, _ = conflict(estate, "value")
    make.change_families("master:", category="settings")
    restore = restore_helpers.done(generation, people, on_conflict=Policy.OVERWRITE)
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "equal", NAMES[1]: "sensitive", NAMES[2]: "written"}


def test_a_name_outside_the_approved_set_would_be_seen_by_the_judge(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate, *ENTRIES, KvEntry("master:b:1", b"b", None, None))
    restore_helpers.done(generation, people, prefix="master:a:")
    [covered] = judge.writable_sets(estate.s3.objects)
    assert set(covered.values) == set(NAMES)
    forged = {key: body + b" " if key in generation.object_keys() else body for key, body in estate.s3.objects.items()}
    assert set(judge.writable_sets(forged)[0].values.values()) == {None}


def test_every_step_is_in_the_record(estate: make.Estate, people: make.People) -> None:
    generation, _ = lost(estate)
    restore = restore_helpers.done(generation, people)
    actions = (
        AuditEntry.objects.filter(subject=f"restore:{restore.pk}").order_by("seq").values_list("action", flat=True)
    )
    assert [one.removeprefix("restore.") for one in actions] == [
        *("prepared", "compared", "submitted", "approved", "started"),
        *("chunk_intended", "chunk_settled", "finished"),
    ]
    assert set(RestoreEntry.objects.values_list("compared", flat=True)) == {"equal"}


# What the reviewer was shown


def test_the_evidence_has_a_root_over_the_entries_to_restore(estate: make.Estate, people: make.People) -> None:
    restore_helpers.put(estate, estate.qa, *ENTRIES)
    generation = restore_helpers.verified_backup(estate.qa, "master:")
    restore_helpers.wipe(estate, estate.qa, *NAMES)
    restore = restore_helpers.approved(restore_helpers.prepared(generation, people), people)
    digests = [bytes(entry.digest or b"") for entry in generation.entries.order_by("index")]
    shown = json.loads(restore_helpers.request_of(restore).evidence)
    assert shown["entries_root"] == archive.digest_root(digests)
    tampered(generation.entries.get(name=NAMES[1]), digest=digests[0])
    with pytest.raises(RestoreRefused, match="differ"):
        restore_requests.start(restore, by=people.operator)
