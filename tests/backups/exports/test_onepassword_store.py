"""Copies in 1Password: a vault that is written like a bucket, and one encrypted copy with its steps in it."""

from io import StringIO

import pyrage
import pytest
from django.core.management import CommandError, call_command

from audit.models import Entry
from backups.bucket.store import ObjectConflict, ObjectMissing, StoreError, StoreUnavailable
from backups.exports import onepassword_store
from backups.exports.onepassword_store import DocumentStore
from backups.models import Generation
from kvops.connections import onepassword
from tests import keys, make
from tests.backups.restores import helpers as restore_helpers
from tests.fakes.onepassword import OnePassword

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> OnePassword:
    made = OnePassword("ops_token")
    made.install(monkeypatch)
    monkeypatch.setenv(onepassword.TOKEN, "ops_token")
    return made


def store(vault: str = "Operations") -> DocumentStore:
    return DocumentStore(vault)


def test_what_is_put_comes_back(account: OnePassword) -> None:
    put = store().put("b/2", b"two")
    store().put("b/1", b"one")
    assert (store().get("b/2"), store().get("b/1"), put.size) == (b"two", b"one", 3)


def test_a_document_is_never_overwritten(account: OnePassword) -> None:
    first = store().put("a", b"one")
    assert store().put("a", b"one") == first
    with pytest.raises(ObjectConflict):
        store().put("a", b"other")
    assert store().get("a") == b"one"


def test_what_is_not_there_is_missing(account: OnePassword) -> None:
    assert store().head("a") is None
    with pytest.raises(ObjectMissing):
        store().get("a")


def test_documents_of_others_are_left_alone(account: OnePassword) -> None:
    store().put("a", b"one")
    next(iter(account.items.values())).tags = []
    assert store().head("a") is None


def test_a_vault_that_cannot_be_seen_and_a_service_that_refuses_say_so(
    account: OnePassword, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="sees no vault 'Private'"):
        store("Private").get("a")
    monkeypatch.setenv(onepassword.TOKEN, "wrong")
    with pytest.raises(StoreUnavailable, match="1Password refused"):
        store().get("a")


def test_what_is_too_large_is_refused(account: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onepassword_store, "LIMIT", 2)
    with pytest.raises(StoreError, match="3 bytes; 2 at most"):
        store().put("a", b"one")


# A copy


@pytest.fixture
def backup(estate: make.Estate, encrypting: None) -> Generation:
    """A verified copy of one secret."""
    estate.put(estate.qa, "system-root", b"hunter2")
    return restore_helpers.verified_backup(estate.qa, "system-root")


def keep(generation: Generation) -> str:
    out = StringIO()
    call_command("keep_in_1password", str(generation.pk), "--vault", "Operations", stdout=out, skip_checks=True)
    return out.getvalue()


def test_a_backup_is_kept_with_its_steps_and_opens_with_the_identity(backup: Generation, account: OnePassword) -> None:
    assert "Kept in the vault Operations" in keep(backup)
    [item] = account.items.values()
    assert b"hunter2" in pyrage.decrypt(item.document.content, [keys.OFFLINE])
    assert (item.title, "age --decrypt" in item.notes) == (backup.object_keys()[0], True)
    assert "hunter2" not in item.notes
    assert Entry.objects.get(action="generation.elsewhere").subject == f"generation:{backup.pk}"


def test_keeping_it_again_changes_nothing(backup: Generation, account: OnePassword) -> None:
    assert keep(backup) == keep(backup)
    assert len(account.items) == 1


@pytest.mark.usefixtures("account")
def test_only_a_small_encrypted_backup_that_was_verified_is_kept(
    backup: Generation, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate.put(estate.qa, "master:1", b"{}")
    with pytest.raises(CommandError, match="Only a verified, encrypted backup"):
        keep(restore_helpers.verified_backup(estate.qa, "master:"))
    monkeypatch.setattr(onepassword_store, "LIMIT", 10)
    with pytest.raises(CommandError, match="of at most 10 bytes"):
        keep(backup)


@pytest.mark.usefixtures("account")
def test_an_object_that_was_exchanged_in_the_bucket_is_not_kept(backup: Generation, estate: make.Estate) -> None:
    estate.s3.objects[backup.object_keys()[0]] = b"forged"
    with pytest.raises(CommandError, match="differs from the one that was written"):
        keep(backup)
