"""Whether the Documents are still in the vault: seen, missing, changed, and back again."""

from collections.abc import Callable

import pytest

from audit.models import Entry
from backups.models import Generation, VaultDocument
from kvops.models import Environment, Notification
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.backups.vault.test_start import kept, scheduled
from tests.fakes.onepassword import OnePassword
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def looked(backup: Generation) -> VaultDocument:
    """The Document of the backup after the next due time."""
    scheduled(backup)
    make.work()
    return VaultDocument.objects.get(generation=backup)


def forged(account: OnePassword) -> None:
    [item] = account.items.values()
    item.document.content = b"forged"


def test_a_document_that_is_there_is_seen_and_nobody_is_told(backup: Generation, people: make.People) -> None:
    before = kept(backup).seen_at
    after = looked(backup)
    assert before is not None
    assert after.seen_at is not None
    assert (after.state, after.seen_at > before) == ("kept", True)
    assert not Notification.objects.filter(event="vault.lacks").exists()


def test_an_archived_document_is_missing_and_told_once(
    backup: Generation, account: OnePassword, people: make.People
) -> None:
    kept(backup)
    account.items.clear()
    assert [looked(backup).state, looked(backup).state] == ["gone", "gone"]
    assert Entry.objects.filter(action="vault.gone").count() == 1
    [told, _second_operator] = Notification.objects.filter(event="vault.lacks")
    assert told.title == "The Document of qa/SETTINGS system-root* is missing from 1Password"


def test_a_changed_document_is_told_and_never_overwritten(
    backup: Generation, account: OnePassword, people: make.People
) -> None:
    kept(backup)
    forged(account)
    assert looked(backup).state == "changed"
    assert Entry.objects.get(action="vault.changed").subject == f"generation:{backup.pk}"
    assert [item.document.content for item in account.items.values()] == [b"forged"]


LOST: dict[str, Callable[[OnePassword], object]] = {
    "missing from 1Password": lambda account: account.items.clear(),
    "changed in 1Password": forged,
}


@pytest.mark.parametrize("what", LOST)
def test_the_list_and_the_overview_say_it(
    backup: Generation, account: OnePassword, people: make.People, what: str
) -> None:
    kept(backup)
    LOST[what](account)
    looked(backup)
    listed, overview = (signed_in(people.auditor).get(address).text for address in ("/backups/vault/", "/"))
    assert f"{what[0].upper()}{what[1:]}</span>" in listed
    assert f"({what})" in overview


def test_a_document_that_is_back_is_kept_again(backup: Generation, account: OnePassword) -> None:
    kept(backup)
    items = dict(account.items)
    account.items.clear()
    assert looked(backup).state == "gone"
    account.items.update(items)
    assert (looked(backup).state, Entry.objects.filter(action="vault.back").count()) == ("kept", 1)


def test_a_document_that_is_lost_a_second_time_is_told_again(
    backup: Generation, account: OnePassword, people: make.People
) -> None:
    kept(backup)
    items = dict(account.items)
    for _time in range(2):
        account.items.clear()
        assert looked(backup).state == "gone"
        account.items.update(items)
        assert looked(backup).state == "kept"
    assert Notification.objects.filter(event="vault.lacks", person=people.operator).count() == 2


def test_a_missing_document_is_put_again_by_hand(backup: Generation, account: OnePassword) -> None:
    kept(backup)
    account.items.clear()
    assert looked(backup).state == "gone"
    assert (kept(backup).state, len(account.items)) == ("kept", 1)


def test_a_superseded_document_may_be_removed(
    backup: Generation, account: OnePassword, estate: make.Estate, people: make.People
) -> None:
    first = kept(backup)
    newer = restore_helpers.verified_backup(estate.qa, "system-root")
    kept(Generation.objects.select_related("environment", "namespace").get(pk=newer.pk))
    del account.items[first.item]
    assert (looked(backup).state, looked(newer).state) == ("kept", "kept")


def test_an_outage_of_1password_changes_no_state(backup: Generation, account: OnePassword) -> None:
    kept(backup)
    account.token = "another"
    [run] = scheduled(backup)
    make.work()
    run.refresh_from_db()
    assert "1Password refused" in run.error + run.note
    assert VaultDocument.objects.get().state == "kept"


def test_without_a_vault_the_look_says_so(backup: Generation) -> None:
    kept(backup)
    [run] = scheduled(backup)
    Environment.objects.update(vault="")
    make.work()
    run.refresh_from_db()
    assert run.error_code == "no_vault"
