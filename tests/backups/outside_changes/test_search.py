"""A change outside KVOps between two backups of settings is found by name; an operation of KVOps is not."""

import time

import pytest

from audit.actions import Action
from audit.models import Entry
from backups.changes import reverse as reverse_change
from backups.models import Generation, KeyChange, OutsideSearch
from backups.outside_changes import search as outside_search
from kvops import timing
from kvops.inventory import scan as inventory_scan, unexplained as unexplained_deletions
from kvops.models import Category, Notification, NotificationEvent, Run, Scan
from kvops.runs import driver as run_driver
from tests import make
from tests.audit.make import triggers_off
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY
from tests.backups.outside_changes import helpers as outside_helpers
from tests.backups.outside_changes.helpers import backed_up, found, searched, wrangler_delete, wrangler_put
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def mail(estate: make.Estate, people: make.People) -> make.Estate:
    return outside_helpers.settings(estate)


def scanned(estate: make.Estate) -> Scan:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def test_a_value_put_with_wrangler_is_found_by_the_next_backup(mail: make.Estate) -> None:
    wrangler_put(mail)
    made = backed_up(mail)
    search = searched(made)
    assert found(made) == {KEY: "changed"}
    assert (search.outcome, search.changed, search.new, search.gone) == ("compared", 1, 0, 0)
    assert search.earlier == Generation.objects.earliest("pk")


def test_new_and_gone_keys_metadata_and_expirations_count(mail: make.Estate) -> None:
    wrangler_put(mail, "mail:new")
    wrangler_put(mail, KEY, change_helpers.OLD, metadata='{"v":2}')
    wrangler_put(mail, "mail:from", change_helpers.OLD, expiration=int(time.time()) + 3_600)
    wrangler_delete(mail, "mail:to")
    expected = {"mail:from": "changed", "mail:new": "new", KEY: "changed", "mail:to": "gone"}
    assert found(backed_up(mail)) == expected


def test_the_first_backup_and_one_without_a_change_find_nothing(mail: make.Estate) -> None:
    assert searched(Generation.objects.get()).outcome == OutsideSearch.Outcome.FIRST
    assert (searched(made := backed_up(mail)).outcome, found(made)) == ("compared", {})
    assert not Entry.objects.filter(action=Action.OUTSIDE_FOUND).exists()


def test_a_change_is_reported_once(mail: make.Estate) -> None:
    wrangler_put(mail)
    assert found(backed_up(mail)) == {KEY: "changed"}
    assert found(backed_up(mail)) == {}


def test_a_key_that_expired_is_not_gone(mail: make.Estate) -> None:
    wrangler_put(mail, "mail:soon", expiration=int(time.time()) + 3_600)
    before = backed_up(mail)
    with triggers_off("backups_generationentry"):
        before.entries.filter(name="mail:soon").update(expiration=int(time.time()) - 1)
    wrangler_delete(mail, "mail:soon")
    assert found(backed_up(mail)) == {}


def test_everyone_is_told_once_with_names_and_without_a_value(mail: make.Estate, people: make.People) -> None:
    wrangler_put(mail)
    search = searched(backed_up(mail))
    told = Notification.objects.filter(event=NotificationEvent.SETTING_CHANGED_OUTSIDE)
    assert {one.recipient for one in told} == {str(people.operator), str(people.operator2), str(people.reviewer)}
    one = told[0]
    assert (one.title, one.link) == (
        "qa/SETTINGS: 1 setting changed outside KVOps",
        f"/unexplained/settings/{search.pk}/",
    )
    assert one.lines[0] == f"Changed: {KEY}."
    assert outside_helpers.SECRET.decode() not in str([one.lines for one in told])


def test_it_is_recorded_with_names_and_no_digest(mail: make.Estate) -> None:
    wrangler_put(mail)
    made = backed_up(mail)
    entry = Entry.objects.get(action=Action.OUTSIDE_FOUND)
    assert (entry.subject, entry.details["keys"]) == (searched(made).subject, [KEY])
    assert entry.details["families"] == ["SETTINGS mail:*"]
    assert bytes(made.entries.get(name=KEY).digest or b"").hex() not in str(entry.details)


# KVOps' own operations


def test_a_change_and_its_reverse_are_no_change_outside(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    assert change.outcome == KeyChange.Outcome.WRITTEN
    assert (found(made := backed_up(mail)), searched(made).explained) == ({}, 1)
    back = reverse_change.prepare(change, by=people.operator)
    make.work()
    change_helpers.started(change_helpers.fresh(back), people)
    make.work()
    assert (found(made := backed_up(mail)), searched(made).explained) == ({}, 1)


def test_a_put_before_a_change_of_ours_is_found(mail: make.Estate, people: make.People) -> None:
    wrangler_put(mail, data=b'{"host":"between"}')
    change_helpers.done(mail.qa, people)
    assert found(backed_up(mail)) == {KEY: "changed"}


def test_a_restore_is_no_change_outside(mail: make.Estate, people: make.People) -> None:
    before = Generation.objects.get()
    wrangler_put(mail)
    wrangler_delete(mail, "mail:to")
    backed_up(mail)
    restore_helpers.done(before, people, on_conflict=Policy.OVERWRITE)
    assert (found(made := backed_up(mail)), searched(made).explained) == ({}, 2)


def test_the_older_value_put_back_after_a_change_of_ours_is_found(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 0.0)
    change_helpers.done(mail.qa, people)
    wrangler_put(mail, data=change_helpers.OLD)
    made = backed_up(mail)
    assert (found(made), searched(made).explained) == ({KEY: "changed"}, 0)
    assert searched(made).changes.get().own_too


def test_the_value_before_a_restore_put_back_is_found(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 0.0)
    before = Generation.objects.get()
    wrangler_put(mail)
    backed_up(mail)
    restore_helpers.done(before, people, on_conflict=Policy.OVERWRITE)
    wrangler_put(mail)
    assert found(backed_up(mail)) == {KEY: "changed"}


def test_a_change_and_its_reverse_between_two_backups_are_no_change_outside(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 0.0)
    back = reverse_change.prepare(change_helpers.done(mail.qa, people), by=people.operator)
    make.work()
    change_helpers.started(change_helpers.fresh(back), people)
    make.work()
    made = backed_up(mail)
    assert (found(made), searched(made).explained) == ({}, 0)


# Which backups are compared


def test_other_scopes_are_not_compared(mail: make.Estate) -> None:
    wrangler_put(mail)
    other = backed_up(mail, "mail:s")
    assert (searched(other).outcome, found(other)) == (OutsideSearch.Outcome.FIRST, {})


def test_a_backup_that_became_damaged_is_still_the_one_before(mail: make.Estate) -> None:
    wrangler_put(mail)
    damaged = backed_up(mail)
    Generation.objects.filter(pk=damaged.pk).update(status=Generation.Status.DAMAGED)
    made = backed_up(mail)
    assert (searched(made).earlier, found(made)) == (damaged, {})


def test_a_key_of_two_nested_families_is_reported_once(mail: make.Estate) -> None:
    make.family("mail:s", Category.SETTINGS)
    make.change_families(interval_hours=24)
    backed_up(mail, "mail:s")
    wrangler_put(mail)
    wrangler_put(mail, "mail:to")
    assert found(backed_up(mail)) == {"mail:to": "changed"}
    assert found(backed_up(mail, "mail:s")) == {KEY: "changed"}


def test_without_a_backup_of_the_inner_family_the_outer_one_has_its_keys(mail: make.Estate) -> None:
    make.family("mail:s", Category.SETTINGS)
    make.change_families(interval_hours=24)
    wrangler_put(mail)
    assert found(backed_up(mail)) == {KEY: "changed"}


def test_the_first_backup_of_a_narrower_family_is_compared_with_the_broader_one(mail: make.Estate) -> None:
    broader = Generation.objects.get()
    make.family("mail:s", Category.SETTINGS)
    make.change_families(interval_hours=24)
    wrangler_put(mail)
    wrangler_put(mail, "mail:to")
    made = backed_up(mail, "mail:s")
    assert (searched(made).earlier, found(made)) == (broader, {KEY: "changed"})


def test_keys_that_are_no_settings_any_more_are_not_reported(mail: make.Estate) -> None:
    estate = mail
    estate.put(estate.qa, "mystery", b"1")
    backed_up(estate, "m")
    wrangler_put(estate)
    estate.put(estate.qa, "mystery", b"2")
    make.change_families("mail:", category=Category.CACHE)
    assert found(backed_up(estate, "m")) == {"mystery": "changed"}


def test_a_family_that_changes_its_category_is_no_change(mail: make.Estate) -> None:
    make.change_families("mail:", category=Category.SETTINGS, owner="another")
    assert found(backed_up(mail)) == {}


def test_a_search_that_crashed_is_done_by_its_run(mail: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    wrangler_put(mail)

    def crash(_generation: Generation) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(outside_search, "_search", crash)
        made = backed_up(mail)
    run = Run.objects.get(kind=Run.Kind.OUTSIDE, state=Run.State.FAILED)
    assert not OutsideSearch.objects.filter(generation=made).exists()
    run_driver.resume(run, actor=make.SETUP)
    make.work()
    assert found(made) == {KEY: "changed"}


def test_the_next_verification_does_what_an_earlier_one_left(
    mail: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrangler_put(mail)
    with monkeypatch.context() as patch:
        patch.setattr(outside_search, "due", lambda _generation: [])
        left = backed_up(mail)
    assert not OutsideSearch.objects.filter(generation=left).exists()
    wrangler_put(mail, "mail:to")
    assert found(backed_up(mail)) == {"mail:to": "changed"}
    assert found(left) == {KEY: "changed"}


def test_a_backup_verified_after_a_newer_search_is_left_out(mail: make.Estate) -> None:
    wrangler_put(mail)
    first, second = backed_up(mail), backed_up(mail)
    assert outside_search.due(first) == outside_search.due(second) == []


# Deletions that a scan found too


def test_a_deletion_that_a_scan_found_is_shown_there_alone(mail: make.Estate) -> None:
    wrangler_delete(mail, "mail:to")
    assert scanned(mail).unexplained == 1
    made = backed_up(mail)
    assert (found(made), searched(made).listed) == ({}, 1)


def test_a_deletion_that_a_backup_found_is_not_found_again_by_a_scan(mail: make.Estate) -> None:
    wrangler_delete(mail, "mail:to")
    assert found(backed_up(mail)) == {"mail:to": "gone"}
    assert list(unexplained_deletions.names(scanned(mail))) == []
