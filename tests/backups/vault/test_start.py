"""A settings backup is put into 1Password by a run in the worker: by a click or by the schedule, once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from types import SimpleNamespace

import pytest
from django.db import connection

from audit import log
from audit.models import Entry
from backups.exports import onepassword as onepassword_documents, onepassword_store
from backups.exports.onepassword_store import DocumentStore
from backups.models import Generation, VaultDocument
from backups.vault import start as vault_start
from kvops.connections import onepassword
from kvops.management.commands import worker as worker_command
from kvops.models import Environment, Heartbeat, Notification, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.subjects import tree
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.fakes.onepassword import OnePassword
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db


def kept(backup: Generation) -> VaultDocument:
    """The backup after a run kept it."""
    vault_start.start_keeping(backup, actor=make.SETUP)
    make.work()
    return VaultDocument.objects.get(generation=backup)


def scheduled(backup: Generation) -> list[Run]:
    """The runs that the schedule of the environment begins."""
    with log.transaction():
        return vault_start.scheduled(Environment.objects.get(slug="qa"), make.SETUP).runs


def refusal(backup: Generation) -> str:
    """The sentence with which a click is refused."""
    fresh = Generation.objects.select_related("environment", "namespace").get(pk=backup.pk)
    with pytest.raises(Refused) as refused:
        vault_start.start_keeping(fresh, actor=make.SETUP)
    assert str(refused.value) == vault_start.why_not(fresh)
    return str(refused.value)


def test_the_run_puts_the_object_and_its_steps_into_the_vault(backup: Generation, account: OnePassword) -> None:
    document = kept(backup)
    [item] = account.items.values()
    assert (document.state, document.item, document.title) == ("kept", item.id, backup.object_keys()[0])
    assert document.sha256 == backup.parts.get().sha256
    assert ("age --decrypt" in item.notes, "hunter2" in item.notes) == (True, False)
    assert document.run is not None
    assert document.run.result == {"vault": "Operations", "title": document.title, "item": item.id}


def test_the_log_and_the_story_of_the_backup_have_it(backup: Generation) -> None:
    kept(backup)
    story = Entry.objects.filter(subject__in=tree.under(f"generation:{backup.pk}").subjects).order_by("seq")
    mine = [one.action for one in story if one.action in {"vault.asked", "generation.elsewhere"}]
    assert mine == ["vault.asked", "generation.elsewhere"]


def test_a_click_by_an_operator_starts_it_and_the_page_has_it(backup: Generation, people: make.People) -> None:
    operator = signed_in(people.operator)
    answer = operator.post(f"/backups/{backup.pk}/keep", follow=True)
    assert said(answer) == ["The backup is being put into 1Password."]
    make.work()
    page = operator.get(f"/backups/{backup.pk}/").content.decode()
    document = VaultDocument.objects.get()
    assert document.person == people.operator
    assert all(text in page for text in (document.reference, document.title, "Kept in 1Password", "Operations"))


def test_a_click_is_refused_with_the_reason(backup: Generation) -> None:
    kept(backup)
    assert refusal(backup) == "The backup is already in the vault Operations."
    Environment.objects.update(vault="Another")
    Heartbeat.objects.all().delete()
    assert refusal(backup).startswith("No worker that may use 1Password was seen lately.")
    Environment.objects.update(vault="")
    assert refusal(backup) == "environments.toml names no 1Password vault for this environment."


def test_a_backup_that_is_being_put_there_is_not_started_twice(backup: Generation) -> None:
    vault_start.start_keeping(backup, actor=make.SETUP)
    assert refusal(backup) == "The backup is being put into 1Password now."


def test_two_processes_do_not_put_one_backup_at_once(
    backup: Generation, account: OnePassword, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = DocumentStore.put

    def with_another(store: DocumentStore, key: str, body: bytes) -> None:
        refused = pytest.raises(onepassword_documents.NotKept, match="being put into 1Password now")
        with ThreadPoolExecutor(1) as other, refused:
            other.submit(elsewhere).result()
        put(store, key, body)

    def elsewhere() -> None:
        try:
            with onepassword_documents._alone(backup):
                pass
        finally:
            connection.close()

    monkeypatch.setattr(DocumentStore, "put", with_another)
    vault_start.keep_now(backup, "Operations", actor=make.SETUP)
    assert len(account.items) == 1


def test_a_backup_that_failed_is_tried_again_after_a_newer_one_is_kept(backup: Generation, estate: make.Estate) -> None:
    key = backup.object_keys()[0]
    whole, estate.s3.objects[key] = estate.s3.objects[key], b"forged"
    assert kept(backup).state == "waiting"
    newer = restore_helpers.verified_backup(estate.qa, "system-root")
    assert kept(Generation.objects.select_related("environment", "namespace").get(pk=newer.pk)).state == "kept"
    estate.s3.objects[key] = whole
    scheduled(backup)
    make.work()
    assert VaultDocument.objects.get(generation=backup).state == "kept"


def test_too_large_a_backup_does_not_keep_smaller_ones_back(
    backup: Generation, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(backup)
    small = restore_helpers.verified_backup(estate.qa, "system-root")
    estate.put(estate.qa, "system-root", b"x" * 5_000)
    restore_helpers.verified_backup(estate.qa, "system-root")
    monkeypatch.setattr(onepassword_store, "LIMIT", small.parts.get().size + 100)
    assert [run.subject for run in scheduled(backup) if run.kind == "vault"] == [f"generation:{small.pk}"]


def test_too_large_a_backup_is_refused_with_the_limit(backup: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onepassword_store, "LIMIT", 10)
    assert "at most 10 bytes" in refusal(backup)


def test_without_a_token_the_run_waits_and_says_so(backup: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(onepassword.TOKEN)
    run = vault_start.start_keeping(backup, actor=make.SETUP)
    run_driver.drive(run.pk)
    run.refresh_from_db()
    assert "OP_SERVICE_ACCOUNT_TOKEN is not set in this process" in run.note
    assert VaultDocument.objects.get().state == "waiting"


def test_an_object_exchanged_in_the_bucket_fails_the_run(backup: Generation, estate: make.Estate) -> None:
    estate.s3.objects[backup.object_keys()[0]] = b"forged"
    document = kept(backup)
    assert document.run is not None
    assert (document.state, document.look, document.run.error_code) == ("waiting", "document_failed", "not_kept")
    assert Notification.objects.filter(event="run.failed").exists() is False  # nobody holds a role


def test_the_schedule_keeps_each_verified_backup_once(backup: Generation, estate: make.Estate) -> None:
    assert [run.kind for run in scheduled(backup)] == ["vault"]
    make.work()
    newer = restore_helpers.verified_backup(estate.qa, "system-root")
    assert sorted(run.kind for run in scheduled(backup)) == ["vault", "vault_check"]
    make.work()
    assert [run.kind for run in scheduled(backup)] == ["vault_check"]
    documents = {one.generation_id: one for one in VaultDocument.objects.all()}
    assert documents[newer.pk].supersedes == documents[backup.pk]
    assert Entry.objects.get(action="vault.superseded").subject == f"generation:{backup.pk}"


def test_the_first_due_time_keeps_only_the_newest_of_a_history(backup: Generation, estate: make.Estate) -> None:
    newer = restore_helpers.verified_backup(estate.qa, "system-root")
    scheduled(backup)
    make.work()
    assert VaultDocument.objects.get().generation == newer


def test_a_worker_with_a_token_is_seen_by_the_pages(
    account: OnePassword, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, cluster = worker_command.Command(stderr=StringIO()), SimpleNamespace(trouble=lambda: "")
    monkeypatch.setattr(worker_command, "close_old_connections", lambda: None)
    monkeypatch.delenv(onepassword.TOKEN)
    command._look_after(cluster)  # type: ignore[arg-type]
    assert not vault_start.worker_ready()
    monkeypatch.setenv(onepassword.TOKEN, account.token)
    command._look_after(cluster)  # type: ignore[arg-type]
    assert vault_start.worker_ready()


def test_a_token_without_the_sdk_is_of_no_use(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(onepassword.TOKEN, "ops_token")
    monkeypatch.setitem(sys.modules, "onepassword", None)
    assert not onepassword.is_set_up()


def test_a_document_that_a_lost_worker_put_there_is_taken_over(backup: Generation, account: OnePassword) -> None:
    put = onepassword_documents.put_document(backup, "Operations")
    assert (kept(backup).item, len(account.items)) == (put.item, 1)
