"""Proof of absence: two clean listings, a settle time apart."""

from collections.abc import Callable

import pytest
from django.db.transaction import atomic

from backups.cleanup import completion, preparation
from backups.models import CleanupException, CleanupStage
from kvops import timing
from kvops.cloudflare import ListedKey
from kvops.inventory import families as key_families, merge as inventory_merge, scan as inventory_scan
from kvops.models import Category, Key, Notification, NotificationEvent, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers

pytestmark = pytest.mark.django_db
State = CleanupStage.State
NAMES = cleanup_helpers.NAMES


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def deleting(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, with its deletion queued."""
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.started(request, people)
    return cleanup_helpers.stage_of(request)


@pytest.fixture
def empty(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA without a key of the family, and its names frozen."""
    cleanup_helpers.estate_with_masters(estate)
    for name in NAMES:
        estate.cloudflare.namespace(estate.qa.namespace_id).delete(name)
    cleanup_helpers.scan(estate.qa)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people))
    assert preparation.freeze_stage(stage, by=people.operator) == 0
    return stage


def worked(stage: CleanupStage) -> CleanupStage:
    make.work()
    stage.refresh_from_db()
    return stage


def nth(number: int, act: Callable[[], object]) -> Callable[[object], None]:
    """Do it before the nth call, once."""
    left = [number]

    def hook(_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return hook


def test_it_takes_two_listings_a_settle_time_apart(estate: make.Estate, deleting: CleanupStage) -> None:
    before = len(estate.cloudflare.calls("keys"))
    stage = worked(deleting)
    assert stage.state == State.CONFIRMED
    assert stage.first_listing_at is not None
    assert stage.second_listing_at is not None
    assert (stage.second_listing_at - stage.first_listing_at).total_seconds() >= timing.SETTLE
    assert len(estate.cloudflare.calls("keys")) - before == 2


def test_a_listing_that_still_shows_a_name_is_not_the_first(estate: make.Estate, deleting: CleanupStage) -> None:
    """As a stale listing does: the name is there, its value is not."""
    kv = estate.cloudflare.namespace(estate.qa.namespace_id)
    estate.cloudflare.hook("keys", nth(1, lambda: estate.put(estate.qa, NAMES[0], cleanup_helpers.master(NAMES[0]))))
    estate.cloudflare.hook("bulk_get", nth(2, lambda: kv.delete(NAMES[0])))
    before = len(estate.cloudflare.calls("keys"))
    stage = worked(deleting)
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)
    assert len(estate.cloudflare.calls("keys")) - before == 3


def test_a_name_in_the_second_listing_starts_the_pair_again(estate: make.Estate, deleting: CleanupStage) -> None:
    kv = estate.cloudflare.namespace(estate.qa.namespace_id)
    before = len(estate.cloudflare.calls("keys"))
    estate.cloudflare.hook("keys", nth(2, lambda: estate.put(estate.qa, NAMES[0])))
    estate.cloudflare.hook("keys", nth(3, lambda: kv.delete(NAMES[0])))
    stage = worked(deleting)
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)
    assert len(estate.cloudflare.calls("keys")) - before == 4


def test_a_name_that_is_back_for_good_is_reported(estate: make.Estate, deleting: CleanupStage) -> None:
    estate.cloudflare.hook("keys", nth(2, lambda: estate.put(estate.qa, NAMES[0], b"somebody's")))
    stage = worked(deleting)
    assert (stage.state, stage.deleted, stage.skipped) == (State.CONFIRMED, 2, 1)
    assert CleanupException.objects.get(stage=stage).outcome == "reappeared"
    assert len(estate.cloudflare.calls("bulk_delete")) == 1


def test_a_refused_cursor_starts_the_listing_again(estate: make.Estate, deleting: CleanupStage) -> None:
    for _ in range(2):  # of the deletion, and of the proof
        estate.cloudflare.fault("keys", "empty_page")
        estate.cloudflare.fault("keys", "cursor_refused")
        estate.cloudflare.fault("keys", "empty_page")
    assert worked(deleting).state == State.CONFIRMED


def test_empty_pages_do_not_end_a_listing(estate: make.Estate, deleting: CleanupStage) -> None:
    estate.cloudflare.fault("keys", "empty_page", times=2)
    estate.cloudflare.fault("bulk_delete", "partial", names=[NAMES[2]])
    stage = worked(deleting)
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)


def test_names_that_postgres_cannot_hold_do_not_disturb(estate: make.Estate, deleting: CleanupStage) -> None:
    estate.put(estate.qa, "master:\0")
    assert worked(deleting).state == State.CONFIRMED


def test_a_stage_without_names_is_proven_by_two_empty_listings(
    estate: make.Estate, people: make.People, empty: CleanupStage
) -> None:
    preparation.prepare_stage(empty, by=people.operator)
    stage = worked(empty)
    assert (stage.state, stage.deleted, stage.skipped) == (State.CONFIRMED, 0, 0)
    assert stage.first_listing_at is not None
    assert stage.second_listing_at is not None
    assert (stage.second_listing_at - stage.first_listing_at).total_seconds() >= timing.SETTLE


@pytest.mark.parametrize("listing", [1, 2])
def test_a_key_in_either_listing_means_that_there_are_names(
    estate: make.Estate, people: make.People, empty: CleanupStage, listing: int
) -> None:
    estate.cloudflare.hook("keys", nth(listing, lambda: estate.put(estate.qa, NAMES[0])))
    run = preparation.prepare_stage(empty, by=people.operator)
    assert worked(empty).state == State.FROZEN
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.FAILED, "not_empty")


def test_keys_of_another_family_below_the_prefix_do_not_count(
    estate: make.Estate, people: make.People, empty: CleanupStage
) -> None:
    make.family("master:kept:", Category.SETTINGS)
    estate.put(estate.qa, "master:kept:1")
    preparation.prepare_stage(empty, by=people.operator)
    assert worked(empty).state == State.CONFIRMED


def test_an_empty_stage_is_accepted_with_the_reason(people: make.People, empty: CleanupStage) -> None:
    preparation.prepare_stage(empty, by=people.operator)
    completion.accept_stage(worked(empty), note="QA never had masters", by=people.operator)
    empty.refresh_from_db()
    assert (empty.state, empty.empty_reason) == (State.ACCEPTED, "QA never had masters")
    assert empty.scope_digest


def test_a_proof_that_failed_can_be_tried_again(
    estate: make.Estate, people: make.People, deleting: CleanupStage
) -> None:
    estate.cloudflare.fault("keys", "challenge", nth=2)
    stage = worked(deleting)
    assert stage.state == State.DELETED
    assert stage.confirm_run is not None
    assert stage.confirm_run.state == Run.State.FAILED
    run_driver.resume(stage.confirm_run, actor=make.SETUP)
    assert worked(stage).state == State.CONFIRMED


@pytest.mark.parametrize(("there", "outcome"), [(True, ["failed"]), (False, [])])
def test_a_name_listed_to_the_end_is_read(
    estate: make.Estate, deleting: CleanupStage, there: bool, outcome: list[str]
) -> None:
    kv = estate.cloudflare.namespace(estate.qa.namespace_id)
    estate.cloudflare.hook("keys", nth(2, lambda: estate.put(estate.qa, NAMES[0], cleanup_helpers.master(NAMES[0]))))
    if not there:
        estate.cloudflare.hook("bulk_get", nth(2, lambda: kv.delete(NAMES[0])))
    assert worked(deleting).state == State.CONFIRMED
    assert list(CleanupException.objects.values_list("outcome", flat=True)) == outcome


# The inventory


def known(estate: make.Estate, prefix: str = "master:") -> list[str]:
    return list(Key.objects.filter(namespace=estate.qa).under(prefix).order_by("name").values_list("name", flat=True))


def counted(estate: make.Estate) -> int:
    return sum(row.keys for row in key_families.keys_by_family(estate.qa) if row.pattern == "master:*")


def test_proven_names_leave_the_inventory_with_the_proof(estate: make.Estate, deleting: CleanupStage) -> None:
    assert (known(estate), counted(estate)) == (list(NAMES), 3)
    worked(deleting)
    assert (known(estate), counted(estate)) == ([], 0)


def test_a_name_that_was_left_stays_in_the_inventory(estate: make.Estate, deleting: CleanupStage) -> None:
    estate.put(estate.qa, NAMES[0], b"changed")
    worked(deleting)
    assert (known(estate), counted(estate)) == ([NAMES[0]], 1)


def test_a_scan_that_listed_them_before_the_proof_lists_again(estate: make.Estate, deleting: CleanupStage) -> None:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    listed = {"page": None, "staged": 3, "last": NAMES[-1], "complete": True}
    Run.objects.filter(pk=made.run_id).update(cursor=listed, foreground=True)
    with atomic():
        inventory_merge.stage_keys(made, [ListedKey(name, None, None) for name in NAMES])
    worked(deleting)
    Run.objects.filter(pk=made.run_id).update(foreground=False)
    make.work()
    made.refresh_from_db()
    assert (made.completed_at is not None, made.added, known(estate)) == (True, 0, [])


def test_people_are_told_once_of_a_key_that_is_back_while_it_is_proven(
    estate: make.Estate, people: make.People, deleting: CleanupStage
) -> None:
    estate.cloudflare.hook("keys", nth(2, lambda: estate.put(estate.qa, NAMES[0], b"somebody's")))
    stage = worked(deleting)
    told = Notification.objects.filter(event=NotificationEvent.KEY_REAPPEARED)
    assert sorted(one.recipient for one in told) == sorted(
        map(str, [people.operator, people.operator2, people.reviewer])
    )
    assert {(one.title, one.link) for one in told} == {
        (f"{stage}: 1 deleted key reappeared", f"/cleanup/stages/{stage.pk}/?show=exceptions")
    }
