"""Scans: what they list, what they change, and what they never change."""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Unpack

import pytest
from django.db import connection

from audit.actions import Action
from audit.models import Entry
from kvops.inventory import browse, merge as inventory_merge, scan as inventory_scan
from kvops.models import Key, Run, Scan, StagedKey
from kvops.runs import driver as run_driver, lease as run_lease, outcomes
from tests import make
from tests.fakes.http import Request
from tests.fakes.namespaces import Item

ODD = [
    "a/b",
    "50%",
    "what?",
    "#1",
    "a&b",
    "a+b",
    "a b",
    " lead",
    "tab\there",
    "new\nline",
    "cr\rhere",
    "back\\slash",
    "\\N",
    "\\.",
    '"quoted"',
    "caf\u00e9",
    "cafe\u0301",
    "施設:東京",
    "😀",
    "\x01",
    "x" * 512,
    "Case",
    "case",
    "--",
]


def scan(estate: make.Estate, prefix: str = "") -> Scan:
    """A scan of QA, worked off."""
    started = inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)
    make.work()
    started.refresh_from_db()
    return started


def fill(estate: make.Estate, count: int, prefix: str = "master:") -> None:
    for number in range(count):
        estate.put(estate.qa, f"{prefix}{number:05}")


def names() -> list[str]:
    return list(Key.objects.order_by("name").values_list("name", flat=True))


def versions() -> dict[str, str]:
    """The transaction and place of every row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, ctid::text || xmin::text FROM kvops_key")
        return dict(cursor.fetchall())


def at_call(number: int, act: Callable[[], object]) -> Callable[[Request], None]:
    """A hook that acts once, before the numbered call is answered."""
    calls = iter(range(1, 10_000))

    def hook(_request: Request) -> None:
        if next(calls) == number:
            act()

    return hook


# What is listed


def test_odd_names_come_back_as_they_are(estate: make.Estate) -> None:
    for name in ODD:
        estate.put(estate.qa, name)
    scan(estate)
    assert names() == sorted(ODD)


def test_metadata_and_expiration_are_kept_without_loss(estate: make.Estate) -> None:
    text = '{"n":1.0,"big":12345678901234567890,"a":1,"a":2,"t":"tab\\t and \\\\ and 施設"}'
    estate.put(estate.qa, "a", metadata=text, expiration=4_000_000_000)
    estate.put(estate.qa, "b", metadata='""')
    estate.put(estate.qa, "c")
    scan(estate)
    found = list(Key.objects.order_by("name").values_list("metadata", "expiration"))
    assert found == [(text, 4_000_000_000), ('""', None), (None, None)]


def test_names_postgres_cannot_hold_are_counted_and_left_out(estate: make.Estate) -> None:
    for name in ("fine", "nul\0", "half\ud800"):
        estate.put(estate.qa, name)
    done = scan(estate)
    assert (done.keys, done.unstorable, names()) == (1, 2, ["fine"])


def test_a_listing_takes_one_call_per_thousand_keys(estate: make.Estate) -> None:
    fill(estate, 2_500)
    assert (scan(estate).calls, len(estate.cloudflare.calls("keys"))) == (3, 3)


def test_an_empty_namespace_is_a_complete_scan(estate: make.Estate) -> None:
    done = scan(estate)
    assert (done.keys, done.completed_at is not None) == (0, True)


def test_expired_keys_are_gone(estate: make.Estate) -> None:
    estate.put(estate.qa, "short", expiration=1_000)
    estate.put(estate.qa, "long")
    estate.cloudflare.clock = lambda: 500.0
    scan(estate)
    estate.cloudflare.clock = lambda: 1_500.0
    assert (scan(estate).gone, names()) == (1, ["long"])


def test_a_scan_only_lists_and_only_with_the_read_token(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QA_WRITE")
    fill(estate, 10)
    scan(estate)
    assert estate.cloudflare.journal_routes() == {("GET", "keys")}


# What is changed


def test_a_second_scan_finds_the_difference(estate: make.Estate) -> None:
    for name in ("a", "b", "c"):
        estate.put(estate.qa, name)
    scan(estate)
    estate.put(estate.qa, "b", metadata="{}")
    estate.put(estate.qa, "d")
    estate.cloudflare.namespace(estate.qa.namespace_id).delete("a")
    done = scan(estate)
    assert (done.added, done.changed, done.gone, done.keys) == (1, 1, 1, 3)
    assert names() == ["b", "c", "d"]


def test_a_scan_without_changes_touches_no_row(estate: make.Estate) -> None:
    estate.put(estate.qa, "a", metadata='{"x":1}', expiration=4_000_000_000)
    estate.put(estate.qa, "b")
    scan(estate)
    before = versions()
    done = scan(estate)
    assert (done.added, done.changed, done.gone) == (0, 0, 0)
    assert versions() == before


def test_only_the_changed_row_is_touched(estate: make.Estate) -> None:
    fill(estate, 3)
    scan(estate)
    before = versions()
    estate.put(estate.qa, "master:00001", expiration=4_000_000_000)
    scan(estate)
    assert {name for name, version in versions().items() if before[name] != version} == {"master:00001"}


def test_new_keys_get_their_family_and_are_counted(estate: make.Estate) -> None:
    for name in ("master:1", "mastercache:1", "mastercache:2", "system-root", "else"):
        estate.put(estate.qa, name)
    done = scan(estate)
    assert set(done.counts.values_list("category", "pattern", "keys")) == {
        ("legacy", "master:*", 1),
        ("cache", "mastercache:*", 2),
        ("settings", "system-root", 1),
        ("unclassified", "", 1),
    }
    assert browse.by_category(estate.qa) == {"settings": 1, "cache": 2, "legacy": 1, "unclassified": 1}


def test_a_prefix_scan_leaves_other_keys_alone(estate: make.Estate) -> None:
    for name in ("master:1", "master:2", "master;", "other"):
        estate.put(estate.qa, name)
    scan(estate)
    for name in ("master:1", "master;", "other"):
        estate.cloudflare.namespace(estate.qa.namespace_id).delete(name)
    done = scan(estate, "master:")
    assert (done.gone, done.keys, names()) == (1, 1, ["master:2", "master;", "other"])


def test_a_prefix_scan_counts_the_whole_namespace(estate: make.Estate) -> None:
    estate.put(estate.qa, "other")
    scan(estate)
    estate.put(estate.qa, "master:1")
    assert set(scan(estate, "master:").counts.values_list("category", "keys")) == {("legacy", 1), ("unclassified", 1)}


def test_another_namespace_is_not_touched(estate: make.Estate) -> None:
    estate.put(estate.production, "there")
    inventory_scan.start_scan(estate.production, actor=make.SETUP)
    scan(estate)
    assert names() == ["there"]


def test_the_stage_is_empty_afterwards(estate: make.Estate) -> None:
    fill(estate, 5)
    scan(estate)
    assert not StagedKey.objects.exists()


def test_start_and_finish_are_in_the_record(estate: make.Estate) -> None:
    fill(estate, 5)
    scan(estate)
    assert Entry.objects.filter(action=Action.SCAN_STARTED, environment="qa").count() == 1
    assert Entry.objects.get(action=Action.SCAN_FINISHED).details["keys"] == 5


# What goes wrong


def test_there_is_one_scan_per_namespace_at_a_time(estate: make.Estate) -> None:
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    with pytest.raises(run_driver.AlreadyOpen):
        inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix="other")


@pytest.mark.parametrize("prefix", ["a\0b", "\ud800", "x" * 513])
def test_a_prefix_no_key_can_have_is_refused(estate: make.Estate, prefix: str) -> None:
    with pytest.raises(inventory_scan.ScanRefused):
        inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)


def test_a_cursor_refused_again_and_again_fails_and_changes_nothing(estate: make.Estate) -> None:
    fill(estate, 1_500)
    for restart in range(inventory_scan.MAX_RESTARTS + 1):
        estate.cloudflare.fault("keys", "cursor_refused", nth=restart + 2)  # every second call
    done = scan(estate)
    assert (done.run.error_code, done.completed_at, names()) == ("cursor_refused", None, [])


def test_a_name_listed_twice_is_one_key_and_the_last_listing_counts(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 1_001)
    namespace = estate.cloudflare.namespace(estate.qa.namespace_id)
    walk = namespace.walk

    def twice(prefix: str, after: str | None) -> Iterator[Item]:
        if after is not None:  # on the second page there is a key of the first, written meanwhile
            yield Item("master:00000", b"", metadata='{"listing":2}')
        yield from walk(prefix, after)

    monkeypatch.setattr(namespace, "walk", twice)
    done = scan(estate)
    assert (done.keys, done.added, len(names())) == (1_001, 1_001, 1_001)
    assert Key.objects.get(name="master:00000").metadata == '{"listing":2}'


def test_a_stage_that_lost_rows_is_refused_and_changes_nothing(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate.put(estate.qa, "before")
    scan(estate)
    fill(estate, 3)
    monkeypatch.setattr(inventory_merge, "analyze", lambda: StagedKey.objects.filter(name="before").delete())
    done = scan(estate)
    assert (done.run.error_code, done.completed_at, names()) == ("stage_mismatch", None, ["before"])


def test_a_scan_lists_anew_by_itself_when_a_database_that_crashed_forgot_its_stage(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 3)
    losses = iter([True, True])
    monkeypatch.setattr(inventory_merge, "analyze", lambda: next(losses, False) and StagedKey.objects.all().delete())
    done = scan(estate)
    assert (done.run.state, done.run.cursor["restarts"], len(names())) == ("succeeded", 2, 3)


def test_a_scan_refused_for_its_stage_lists_anew_when_tried_again(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 3)
    with monkeypatch.context() as patch:
        patch.setattr(inventory_merge, "analyze", lambda: StagedKey.objects.all().delete())
        failed = scan(estate)
    run_driver.resume(failed.run, actor=make.SETUP)
    make.work()
    assert len(names()) == 3


def test_a_resumed_scan_goes_on_from_its_cursor(estate: make.Estate) -> None:
    fill(estate, 2_500)
    estate.cloudflare.fault("keys", "too_large", nth=3)
    failed = scan(estate)
    run_driver.resume(failed.run, actor=make.SETUP)
    make.work()
    failed.refresh_from_db()
    assert (failed.keys, len(names())) == (2_500, 2_500)
    assert len(estate.cloudflare.calls("keys")) == 4  # two pages, the refused call, the third page


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_worker_that_loses_its_lease_writes_nothing_and_the_next_one_goes_on(estate: make.Estate, page: int) -> None:
    fill(estate, 2_500)
    started = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    lease = run_lease.take(started.run_id)
    assert lease is not None
    lost = threading.Event()
    estate.cloudflare.hook("keys", at_call(page, lost.set))
    renew = lease.renew

    def taken_over(**values: Unpack[run_lease.RunProgress]) -> None:
        if lost.is_set():
            raise outcomes.LeaseLost
        renew(**values)

    lease.renew = taken_over  # type: ignore[method-assign]
    with pytest.raises(outcomes.LeaseLost):
        inventory_scan.scan(lease)
    # A page is asked for while the one before is staged, so that one may be lost with it and the next one asked for.
    assert StagedKey.objects.count() in {max(page - 2, 0) * 1_000, (page - 1) * 1_000}
    Run.objects.filter(pk=started.run_id).update(owner="", lease_until=None)
    make.work()
    assert len(names()) == 2_500
    assert len(estate.cloudflare.calls("keys")) in {4, 5}


def test_a_merge_that_crashes_leaves_everything_for_the_next_worker(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 1_500)
    started = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    with monkeypatch.context() as patch:
        patch.setattr(inventory_merge, "_update_and_insert", lambda *_: sys.exit(9))
        with pytest.raises(SystemExit):
            run_driver.drive(started.run_id)
    assert names() == []
    Run.objects.filter(pk=started.run_id).update(owner="", lease_until=None)
    make.work()
    assert (len(names()), len(estate.cloudflare.calls("keys"))) == (1_500, 2)


def test_an_old_scan_cannot_undo_a_newer_one(estate: make.Estate) -> None:
    fill(estate, 1_500)
    estate.cloudflare.fault("keys", "too_large", nth=2)
    old = scan(estate)
    estate.put(estate.qa, "aaa")
    scan(estate)
    run_driver.resume(old.run, actor=make.SETUP)
    make.work()
    old.run.refresh_from_db()
    assert (old.run.error_code, "aaa" in names()) == ("superseded", True)


def test_a_scan_without_its_token_fails_with_the_reference(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QA_READ")
    assert "QA_READ is not set" in scan(estate).run.error


def test_a_long_scan_goes_on_in_further_steps(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(estate, 3_500)
    monkeypatch.setattr("kvops.timing.STEP", 0.05)
    estate.cloudflare.latency = 0.06
    done = scan(estate)
    assert (done.keys, done.calls, done.run.epoch > 2) == (3_500, 4, True)


def test_random_namespaces_are_always_mirrored(estate: make.Estate) -> None:
    dice = random.Random(4)
    cloud = estate.cloudflare.namespace(estate.qa.namespace_id)
    for _ in range(6):
        for _ in range(60):
            name = dice.choice(ODD) + str(dice.randrange(40))
            if dice.random() < 0.5:
                cloud.delete(name)
            else:
                estate.put(estate.qa, name, metadata=dice.choice([None, "1", '{"a":1}']))
        scan(estate)
        real = [(item.name, item.metadata) for item in cloud.walk("", None)]
        assert list(Key.objects.order_by("name").values_list("name", "metadata")) == real
