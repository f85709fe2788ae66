"""A copy compared with a later one, and with what KV holds."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from backups.comparisons import run as comparison_run, start as comparison_start
from backups.models import Comparison, ComparisonEntry, Generation
from kvops import clock
from kvops.cloudflare import KvEntry
from kvops.models import Environment, Run
from kvops.prefixes import common
from kvops.runs import driver as run_driver, lease as run_lease
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers

pytestmark = pytest.mark.django_db
SOON = int(time.time()) + 86_400


def entry(name: str, value: bytes = b"v", *, expiration: int | None = None, metadata: str | None = None) -> KvEntry:
    return KvEntry(f"master:{name}", value, expiration, metadata)


BEFORE = (
    entry("equal"),
    entry("gone"),
    entry("value"),
    entry("metadata", metadata='{"n":1}'),
    entry("expiration", expiration=SOON),
)
AFTER = (
    entry("added"),
    entry("equal"),
    entry("value", b"w"),
    entry("metadata", metadata='{"n":1.0}'),
    entry("expiration", expiration=SOON + 60),
)
DIFFERENCES = {
    "master:added": "added",
    "master:expiration": "expiration",
    "master:gone": "removed",
    "master:metadata": "metadata",
    "master:value": "value",
}
FOUND = {"added": 1, "removed": 1, "expired": 0, "value": 1, "metadata": 1, "expiration": 1, "equal": 1}


def change(estate: make.Estate) -> None:
    """KV goes from BEFORE to AFTER."""
    restore_helpers.wipe(estate, estate.qa)
    restore_helpers.put(estate, estate.qa, *AFTER)


@pytest.fixture
def generation(estate: make.Estate) -> Generation:
    restore_helpers.put(estate, estate.qa, *BEFORE)
    return restore_helpers.verified_backup(estate.qa)


def finished(comparison: Comparison) -> Comparison:
    make.work()
    comparison.refresh_from_db()
    assert comparison.run.state in Run.OPEN or Run.objects.get(pk=comparison.run_id).state == Run.State.SUCCEEDED
    return comparison


def kinds(comparison: Comparison) -> dict[str, str]:
    return dict(comparison.entries.order_by("name").values_list("name", "kind"))


def with_later(estate: make.Estate, generation: Generation) -> Comparison:
    """The copy against one of AFTER."""
    change(estate)
    return finished(
        comparison_start.of_backups(restore_helpers.verified_backup(estate.qa), generation, actor=make.SETUP)
    )


def test_two_backups_differ_by_what_happened_between_them(estate: make.Estate, generation: Generation) -> None:
    comparison = with_later(estate, generation)
    assert kinds(comparison) == DIFFERENCES
    assert comparison.found == FOUND
    assert (comparison.generation, comparison.differences) == (generation, 5)


def test_two_backups_are_compared_once(estate: make.Estate, generation: Generation) -> None:
    comparison = with_later(estate, generation)
    assert comparison.other is not None
    assert comparison_start.of_backups(generation, comparison.other, actor=make.SETUP) == comparison


def test_a_comparison_stretch_by_stretch_finds_the_same(
    estate: make.Estate, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_run, "BLOCK", 2)
    assert with_later(estate, generation).found == FOUND


def test_a_backup_is_compared_with_what_kv_holds(estate: make.Estate, generation: Generation) -> None:
    change(estate)
    comparison = finished(comparison_start.with_kv(generation, estate.qa, actor=make.SETUP))
    assert kinds(comparison) == DIFFERENCES
    assert comparison.found == FOUND


def test_what_kv_holds_is_compared_step_by_step(
    estate: make.Estate, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison_run, "READ", 2)
    monkeypatch.setattr(run_lease.Lease, "tired", True)
    change(estate)
    assert finished(comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)).found == FOUND


def test_a_backup_is_compared_with_another_environment(estate: make.Estate, generation: Generation) -> None:
    restore_helpers.put(estate, estate.production, *BEFORE[:4])
    comparison = finished(comparison_start.with_kv(generation, estate.production, actor=make.SETUP))
    assert kinds(comparison) == {"master:expiration": "removed"}


def test_a_key_whose_time_is_over_was_not_removed(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_helpers.put(estate, estate.qa, entry("short", expiration=SOON), entry("long"))
    backup = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, "master:short")
    days_later = SimpleNamespace(now=lambda: clock.now() + timedelta(days=2))
    monkeypatch.setattr(comparison_run, "clock", days_later)
    comparison = finished(comparison_start.with_kv(backup, estate.qa, actor=make.SETUP))
    assert kinds(comparison) == {"master:short": "expired"}


def test_backups_in_another_bucket_are_not_compared(estate: make.Estate, generation: Generation) -> None:
    newer = restore_helpers.verified_backup(estate.qa)
    Environment.objects.update(r2_bucket="another")
    with pytest.raises(comparison_start.ComparisonRefused, match="in a bucket that the environment no longer uses"):
        comparison_start.of_backups(generation, newer, actor=make.SETUP)


def test_only_what_both_backups_cover_is_compared(estate: make.Estate, generation: Generation) -> None:
    restore_helpers.put(estate, estate.qa, entry("a:1"))
    narrow = restore_helpers.verified_backup(estate.qa, "master:a:")
    assert kinds(finished(comparison_start.of_backups(generation, narrow, actor=make.SETUP))) == {"master:a:1": "added"}


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (["master:"], ["master:"], ["master:"]),
        (["master:"], ["master:a:", "clinic:"], ["master:a:"]),
        ([""], ["clinic:", "master:"], ["clinic:", "master:"]),
        (["master:"], ["clinic:"], []),
    ],
)
def test_the_prefixes_both_cover(left: list[str], right: list[str], both: list[str]) -> None:
    assert common(left, right) == both
    assert common(right, left) == both


def test_a_backup_of_given_names_says_nothing_of_others(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    assert stage.generation is not None
    restore_helpers.put(estate, estate.qa, entry("new"))
    later = restore_helpers.verified_backup(estate.qa)
    assert kinds(finished(comparison_start.of_backups(stage.generation, later, actor=make.SETUP))) == {}
    assert kinds(finished(comparison_start.with_kv(stage.generation, estate.qa, actor=make.SETUP))) == {}


def test_what_a_restore_restored_is_compared_by_itself(
    estate: make.Estate, generation: Generation, people: make.People
) -> None:
    restore_helpers.wipe(estate, estate.qa, "master:gone", "master:value")
    restore = restore_helpers.done(generation, people, names=["master:gone"])
    restore_helpers.put(estate, estate.qa, entry("gone", b"written since"))
    comparison = comparison_start.with_kv(generation, estate.qa, restore=restore, actor=make.SETUP)
    assert kinds(finished(comparison)) == {"master:gone": "value"}


def test_digests_that_are_not_the_backup_s_are_not_believed(estate: make.Estate, generation: Generation) -> None:
    change(estate)
    key = generation.parts.get().digests_key
    estate.s3.objects[key] = estate.s3.objects[key].replace(b" ", b"  ", 1)
    comparison = comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)
    make.work()
    run = Run.objects.get(pk=comparison.run_id)
    assert (run.state, run.error_code) == ("failed", "backup_damaged")
    assert ComparisonEntry.objects.count() == 0


def test_a_backup_is_not_compared_with_itself_or_another_binding(generation: Generation, estate: make.Estate) -> None:
    with pytest.raises(comparison_start.ComparisonRefused, match="cannot be compared with itself"):
        comparison_start.of_backups(generation, generation, actor=make.SETUP)
    estate.production.binding = "OTHER"
    with pytest.raises(comparison_start.ComparisonRefused, match="of another binding"):
        comparison_start.with_kv(generation, estate.production, actor=make.SETUP)


def test_what_was_not_written_to_its_end_is_not_compared(generation: Generation, estate: make.Estate) -> None:
    Generation.objects.filter(pk=generation.pk).update(status="damaged")
    generation.refresh_from_db()
    with pytest.raises(comparison_start.ComparisonRefused, match="cannot be compared"):
        comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)


def test_a_second_click_starts_no_second_comparison(generation: Generation, estate: make.Estate) -> None:
    comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)
    with pytest.raises(run_driver.AlreadyOpen):
        comparison_start.with_kv(generation, estate.qa, actor=make.SETUP)
