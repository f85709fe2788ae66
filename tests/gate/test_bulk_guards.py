"""Each rule of a bulk change by itself, without a row or a call: what is written, how long it lives, and QA first."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.changes.bulk import (
    evidence as bulk_evidence,
    qa,
    requests as bulk_requests,
    run as bulk_run,
    start as bulk_start,
)
from backups.changes.bulk.run import BulkPutter, BulkRun, BulkSettler, changed
from backups.changes.bulk.start import BulkWish
from backups.generations.export import entry_digest
from backups.models import BulkChange, Generation, Restore
from backups.models.bulk_changes import CLOSEST, LONGEST, SHORTEST
from backups.restores import before_write, run as restore_run, safety_backup
from backups.restores.moves import RestoreRefused
from kvops import clock
from kvops.cloudflare import KvEntry
from kvops.environments import hours
from kvops.inventory import families as key_families
from kvops.models import Category, Environment, Family, Namespace, Run
from kvops.runbook import secrets
from kvops.runs import emergency
from kvops.runs.outcomes import Again, RunError, Stopped

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
AT = int(NOW.timestamp())
DAY = 86_400
ENTRY = KvEntry("page:a", b"\x00value", 4_000_000_000, '{"v":1.0}')
Operation = Restore.Operation


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def bulk_of(operation: str = "expiration", *, production: bool = False, **values: Any) -> BulkChange:
    """A bulk change of two days, or one with a mark."""
    environment = Environment(pk=1, name="QA", production=production, hours="01:00-02:00", days="mon")
    restore = Restore(pk=5, operation=operation, environment=environment, prefix="page:", generation=Generation(pk=7))
    restore.namespace = Namespace(pk=2, environment=environment, binding="CACHE", namespace_id="b" * 32)
    family = Family(pk=3, binding="CACHE", pattern="page:", category=Category.CACHE, expiry="regenerate:stale")
    given = {"lifetime": 2 * DAY} if operation == "expiration" else {"member": "stale", "value": "yes"}
    return BulkChange(pk=5, restore=restore, operation=operation, family=family, **given | values)


# What is written


def test_only_the_expiration_or_the_mark_differs_from_the_backup() -> None:
    assert changed(bulk_of(expiration=AT), ENTRY) == KvEntry("page:a", b"\x00value", AT, '{"v":1.0}')
    assert changed(bulk_of(), ENTRY) == ENTRY
    assert changed(bulk_of("mark"), ENTRY) == KvEntry("page:a", b"\x00value", 4_000_000_000, '{"v":1.0,"stale":"yes"}')
    assert changed(bulk_of("mark"), KvEntry("page:a", b"", None, "[]")) is None


def test_each_chunk_is_written_and_compared_with_the_changed_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    restore, key = bulk_of("mark").restore, b"k" * 32
    putter, settler = BulkPutter.__new__(BulkPutter), BulkSettler.__new__(BulkSettler)
    putter.restore = settler.restore = restore
    settler._key, entries = key, [ENTRY, KvEntry("page:a", b"", None, "[]")]
    settler.backup = cast("Any", SimpleNamespace(take=lambda one: entries[one]))
    expected = changed(restore.bulk, ENTRY)
    assert expected is not None
    assert putter.to_write(ENTRY) == expected
    assert settler.expected(cast("Any", 0)) == entry_digest(expected, key)
    assert settler.expected(cast("Any", 1)) is None


class BulkStep(BulkRun):
    """Notes what is done."""

    def __init__(self, bulk: BulkChange) -> None:
        self.restore, self.lease, self.done, self.gone = bulk.restore, cast("Any", self), list[object](), 0.0

    def until_gone(self) -> float:
        return self.gone

    def derive(self) -> None:
        self.done.append("derive")

    def go_on(self) -> None:
        self.done.append("go on")


def test_the_backup_of_a_change_is_some_minutes_old_before_the_first_write(monkeypatch: pytest.MonkeyPatch) -> None:
    step, waits, stopped = BulkStep(bulk_of()), [None, Again(9.0)], list[object]()

    def insist_none(environment: Environment) -> None:
        if environment in stopped:
            raise Stopped(emergency.CODE, "stopped")

    def apart(backup: object) -> Again | None:
        assert backup is step.restore.generation
        return waits.pop(0)

    monkeypatch.setattr(safety_backup, "apart", apart)
    monkeypatch.setattr(emergency, "insist_none", insist_none)
    assert (step.begin(), step.done) == (None, ["derive", "go on"])
    assert (step.begin(), step.done[2:]) == (Again(9.0), ["derive"])
    step.gone, step.done = 0.5, []
    assert (step.begin(), step.done) == (Again(0.5, "Waiting: KV may still show the deleted keys."), [])
    stopped.append(step.restore.environment)
    with pytest.raises(Stopped):
        step.begin()


def test_nothing_is_written_when_the_keys_expire_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[object] = []
    monkeypatch.setattr(restore_run.RestoreRun, "_put", lambda _self, chunk: put.append(chunk))
    for expiration in (None, AT + CLOSEST, AT + CLOSEST + 1):
        BulkStep(bulk_of(expiration=expiration))._put(cast("Any", expiration))
    assert put == [None, AT + CLOSEST, AT + CLOSEST + 1]
    with pytest.raises(RunError, match="The keys expire within 15 minutes") as error:
        BulkStep(bulk_of(expiration=AT + CLOSEST - 1))._put(cast("Any", 0))
    assert (error.value.code, len(put)) == ("expires_soon", 3)


def test_a_run_derives_the_evidence_of_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    step, asked = BulkStep(bulk_of()), list[object]()
    monkeypatch.setattr(before_write, "insist_as_approved", lambda *given: asked.append(given))
    step.insist_as_approved()
    assert asked == [(step.restore, bulk_evidence.build, bulk_run.STALE)]


# What may be chosen


TOO_CLOSE = (
    "An expiration is at least one hour and at most 366 days ahead. Within an hour, the writes could not be read back "
    "before the keys expire."
)


@pytest.mark.parametrize("seconds", [SHORTEST, LONGEST])
def test_an_expiration_between_an_hour_and_a_year_is_written(seconds: int) -> None:
    bulk_start.insist_writable(seconds, None)
    bulk_start.insist_writable(None, AT + seconds)
    bulk_start.insist_writable(None, None)
    beyond = seconds - 1 if seconds == SHORTEST else seconds + 1
    for lifetime, until in ((beyond, None), (None, AT + beyond), (DAY, AT + beyond)):
        with pytest.raises(RestoreRefused) as refused:
            bulk_start.insist_writable(lifetime, until)
        assert str(refused.value) == TOO_CLOSE


@pytest.mark.parametrize(
    ("category", "sentence"),
    [("settings", "Settings are changed one by one"), ("legacy", "Legacy keys are cleaned up"), ("", "no family")],
)
def test_only_a_cache_is_changed_in_bulk(monkeypatch: pytest.MonkeyPatch, category: str, sentence: str) -> None:
    cache, other = Family(category="cache"), Family(category=category) if category else None
    found = {("CACHE", "page:"): cache, ("CACHE", "other:"): other}
    monkeypatch.setattr(key_families, "family_of", lambda *of: found[of])
    namespace = bulk_of().restore.namespace
    assert bulk_start.cache_family(namespace, "page:") is cache
    with pytest.raises(RestoreRefused, match=sentence):
        bulk_start.cache_family(namespace, "other:")


def test_a_mark_is_that_of_the_family_and_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    family, seen = bulk_of().family, list[str]()
    monkeypatch.setattr(secrets, "insist_no_secret", seen.append)
    assert bulk_start._member(family, BulkWish(Operation.EXPIRATION, lifetime=DAY)) == ""
    assert bulk_start._member(family, BulkWish(Operation.MARK, value="yes")) == "stale"
    assert seen == ["yes"]
    with pytest.raises(RestoreRefused, match=r"^Give the value of the mark\.$"):
        bulk_start._member(family, BulkWish(Operation.MARK, value="  "))
    family.expiry = "ttl:3600"
    with pytest.raises(RestoreRefused) as refused:
        bulk_start._member(family, BulkWish(Operation.MARK, value="yes"))
    assert str(refused.value) == (
        "page:* names no mark. Its expiry design must be “regenerate:” with the member of the metadata that the "
        "application reads. Change the policy first."
    )


# QA first


def earlier(number: int, ago: timedelta | None, **values: Any) -> BulkChange:
    found = bulk_of(**values)
    found.pk, found.accepted_at = number, None if ago is None else NOW - ago
    return found


def test_the_newest_change_of_the_last_week_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk, week = bulk_of(production=True), timedelta(days=7)
    found = [earlier(1, None), earlier(2, week + timedelta(seconds=1)), earlier(3, week), earlier(4, timedelta(0))]
    monkeypatch.setattr(qa, "_repeatable", lambda of: iter(found) if of is bulk else iter(()))
    assert qa.accepted_before(bulk) is found[2]
    del found[2:]
    assert qa.accepted_before(bulk) is None


def test_a_start_needs_the_change_that_it_repeats_however_old(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = bulk_of(production=True)
    monkeypatch.setattr(qa, "_repeatable", lambda of: iter([earlier(8, timedelta(days=90))] if of is bulk else []))
    for repeats, counts in ((8, True), (9, False), (None, False)):
        bulk.repeats_id = repeats
        assert qa.still_counts(bulk) is counts
    assert qa.still_counts(bulk_of())
    assert (qa.comes_first(bulk), qa.comes_first(bulk_of())) == (True, False)


def test_another_prefix_or_another_choice_are_other_keys() -> None:
    bulk, other = bulk_of(), bulk_of()
    assert not qa.is_of_other_keys(bulk, other)
    other.scope = "none"
    assert qa.is_of_other_keys(bulk, other)
    other.scope, other.restore.prefix = bulk.scope, "page:a"
    assert qa.is_of_other_keys(bulk, other)


def test_keys_live_from_the_start_of_their_run() -> None:
    assert qa._life(bulk_of()) == 2 * DAY
    until = bulk_of(lifetime=None, until=AT + 100)
    assert qa._life(until) == 100.0
    until.restore.run = Run(created_at=NOW - timedelta(seconds=50))
    assert qa._life(until) == 150.0
    assert qa._life(bulk_of(lifetime=None)) == -AT


FIRST = (
    "QA first: the same operation on the same family must be done and accepted in QA within the last 7 days, and not "
    "undone since. Its keys may not live longer there than here."
)
UNDONE = (
    "QA first: the change that this one repeats was undone, or its keys lived longer than these would. End the "
    "request, and make the change in QA again."
)


def test_production_repeats_a_change_of_qa(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk, found = bulk_of(production=True), [earlier(8, timedelta(0))]
    monkeypatch.setattr(qa, "accepted_before", lambda of: found[0] if found and of is bulk else None)
    assert bulk_requests._accepted_before(bulk) is found[0]
    assert bulk_requests._accepted_before(bulk_of()) is None
    found.clear()
    with pytest.raises(RestoreRefused) as refused:
        bulk_requests._accepted_before(bulk)
    assert str(refused.value) == FIRST


def test_a_change_of_qa_that_does_not_count_any_more_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = bulk_of(), earlier(6, None)
    monkeypatch.setattr(qa, "still_counts", lambda of: of is mine)
    bulk_requests._insist_qa(mine)
    with pytest.raises(RestoreRefused) as refused:
        bulk_requests._insist_qa(other)
    assert str(refused.value) == UNDONE


# The time


def test_keys_are_changed_only_within_the_hours_and_never_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    opens, restore = list[datetime](), bulk_of(lifetime=None, until=AT + SHORTEST).restore

    def next_opening(environment: Environment, now: datetime) -> datetime | None:
        assert (environment, now) == (restore.environment, NOW)
        return opens[0] if opens else None

    monkeypatch.setattr(hours, "next_opening", next_opening)
    bulk_requests._insist_time(restore)
    restore.bulk.until = AT + SHORTEST - 1
    with pytest.raises(RestoreRefused, match="at least one hour"):
        bulk_requests._insist_time(restore)
    restore.bulk.until, restore.bulk.lifetime = None, LONGEST + 1
    with pytest.raises(RestoreRefused, match="at least one hour"):
        bulk_requests._insist_time(restore)
    opens.append(datetime(2026, 12, 7, 1, tzinfo=UTC))
    sentence = "In QA keys are changed only within the allowed hours (01:00-02:00 mon). The next time is 2026-12-07"
    with pytest.raises(RestoreRefused) as refused:
        bulk_requests._insist_time(restore)
    assert str(refused.value).startswith(sentence)
    restore.environment.days = ""
    with pytest.raises(RestoreRefused, match=r"\(01:00-02:00\)"):
        bulk_requests._insist_time(restore)
