"""A change is written by its run, if KV still holds what it was made from, and read back."""

import json
from datetime import timedelta

import pyrage
import pytest
from django.db.models import F
from django.db.models.functions import Now

from audit.models import Entry
from backups.bucket.r2 import R2Store
from backups.changes import requests as change_requests, reverse as reverse_change, review_key
from backups.changes.moves import ChangeRefused
from backups.generations import start as generation_start
from backups.generations.scope import BackupRefused
from backups.models import Generation, KeyChange
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Key, Run
from kvops.runs import driver as run_driver
from tests import keys, make
from tests.audit.make import sql, triggers_off
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY, NEW, OLD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
State, Outcome = KeyChange.State, KeyChange.Outcome


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


@pytest.fixture
def mail(estate: make.Estate) -> make.Estate:
    return change_helpers.ready(estate)


def test_an_approved_change_is_written_and_read_back(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    assert (change.state, change.outcome, change.attempt) == (State.DONE, Outcome.WRITTEN, 1)
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert (held.data, held.metadata) == (NEW, '{"v":1}')


def test_the_old_value_is_in_a_verified_encrypted_backup_before_anything_is_submitted(
    mail: make.Estate, people: make.People
) -> None:
    change = change_helpers.proposed(mail.qa, people)
    backup = change.generation
    assert backup is not None
    assert (backup.status, backup.purpose, backup.keys) == (Generation.Status.VERIFIED, "change", 1)
    opened = json.loads(pyrage.decrypt(mail.s3.objects[backup.object_keys()[0]], [keys.OFFLINE]))
    assert [entry["value"] for entry in opened] == [OLD.decode()]


def test_the_proposal_opens_with_the_review_key_and_with_the_backups_identities(
    mail: make.Estate, people: make.People
) -> None:
    change = change_helpers.proposed(mail.qa, people)
    body = mail.s3.objects[change.object_key]
    for identity in (keys.REVIEW, keys.OPERATIONS, keys.OFFLINE):
        assert b"old" in pyrage.decrypt(body, [identity])
    assert change.generation is not None
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(mail.s3.objects[change.generation.object_keys()[0]], [keys.REVIEW])


def test_the_proposal_is_erased_once_it_is_applied(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    assert change_helpers.proposals(mail) == []
    assert change.erased_at is not None
    assert Entry.objects.filter(action="proposal.erased", subject=change.subject).count() == 1


def test_the_digests_before_and_after_are_keyed_and_recorded(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    assert change.generation is not None
    assert change.digest_before == bytes(change.generation.entries.get().digest or b"").hex()
    assert change.digest_key == change.generation.digest_key
    entry = Entry.objects.get(action="change.finished", subject=change.subject)
    assert (entry.details["before"], entry.details["after"]) == (change.digest_before, change.digest_after)


def test_a_new_key_is_created_and_known_at_once(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people, "mail:new", value=b"on")
    assert (change.new_key, change.generation) == (True, None)
    change_helpers.started(change, people)
    make.work()
    assert change_helpers.fresh(change).outcome == Outcome.WRITTEN
    assert Key.objects.filter(namespace=mail.qa, name="mail:new").exists()


def test_metadata_and_expiration_are_changed_with_the_same_bytes(mail: make.Estate, people: make.People) -> None:
    wish = {"value": None, "metadata": ('{"v":2}',), "expiration": (4_000_000_000,)}
    change = change_helpers.done(mail.qa, people, **wish)
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert (held.data, held.metadata, held.expiration) == (OLD, '{"v":2}', 4_000_000_000)
    assert change.parts == ["metadata", "expiration"]


def test_a_lost_answer_is_settled_by_reading(mail: make.Estate, people: make.People) -> None:
    run = change_helpers.started(change_helpers.proposed(mail.qa, people), people)
    mail.cloudflare.fault("put_value", "effect_then_reset")
    make.work()
    change = KeyChange.objects.get(run=run)
    assert (change.outcome, change.attempt) == (Outcome.WRITTEN, 1)
    assert len(mail.cloudflare.calls("put_value")) == 1


def test_a_write_that_never_arrived_is_sent_again_and_at_most_three_times(
    mail: make.Estate, people: make.People
) -> None:
    run = change_helpers.started(change_helpers.proposed(mail.qa, people), people)
    mail.cloudflare.fault("put_value", "reset", times=9)
    make.work()
    change = KeyChange.objects.get(run=run)
    assert (change.state, change.outcome, change.attempt) == (State.DONE, Outcome.FAILED, 3)
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert held.data == OLD


def test_a_value_that_another_program_wrote_meanwhile_is_told_and_left(mail: make.Estate, people: make.People) -> None:
    run = change_helpers.started(change_helpers.proposed(mail.qa, people), people)
    run_driver.drive(run.pk)
    mail.put(mail.qa, KEY, b"theirs")
    make.work()
    assert KeyChange.objects.get(run=run).outcome == Outcome.DIFFERENT
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert held.data == b"theirs"


def test_the_reverse_change_brings_the_old_entry_back(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    back = reverse_change.prepare(change, by=people.operator)
    make.work()
    back = change_helpers.fresh(back)
    assert (back.reverses_id, back.parts, back.state) == (change.pk, ["value"], State.DRAFT)
    change_helpers.started(back, people)
    make.work()
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert (held.data, held.metadata) == (OLD, '{"v":1}')
    assert change_helpers.proposals(mail) == []


def commands(change: KeyChange) -> list[str]:
    """The commands that the audit log keeps of a change, oldest first."""
    entries = Entry.objects.filter(action="change.prepared", subject=change.subject).order_by("seq")
    return [one.details["command"] for one in entries if "command" in one.details]


def test_the_command_of_a_change_takes_metadata_from_a_file_and_names_the_expiration(
    mail: make.Estate, people: make.People
) -> None:
    change = change_helpers.proposed(mail.qa, people, metadata=('{"v":2}',), expiration=(4_000_000_000,))
    [command] = commands(change)
    assert '--expiration 4000000000 --metadata "$(cat metadata)" ' in command
    assert '"v"' not in command


def test_the_command_of_a_reverse_change_has_the_metadata_of_the_old_entry(
    mail: make.Estate, people: make.People
) -> None:
    change = change_helpers.done(mail.qa, people, metadata=(None,))
    assert "--metadata" not in commands(change)[0]
    back = reverse_change.prepare(change, by=people.operator)
    make.work()
    [command] = commands(back)
    assert '--metadata "$(cat metadata)"' in command


def test_the_reverse_change_is_encrypted_to_the_recipients_of_today(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    with triggers_off("backups_keychange"):
        KeyChange.objects.update(recipients=["age1former"])
    back = reverse_change.prepare(change_helpers.fresh(change), by=people.operator)
    make.work()
    assert change_helpers.fresh(back).recipients == review_key.recipients()


@pytest.mark.parametrize("arrived", [False, True])
def test_a_worker_that_dies_at_the_put_of_a_reverse_proposal_leaves_no_second_one(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    back = reverse_change.prepare(change_helpers.done(mail.qa, people), by=people.operator)
    assert back.prepare_run_id is None
    back = change_helpers.fresh(back)
    assert back.prepare_run is not None

    def put(store: R2Store, key: str, body: bytes, **more: str) -> None:
        if arrived:
            real(store, key, body, **more)
        raise KeyboardInterrupt

    real = R2Store.put
    monkeypatch.setattr(R2Store, "put", put)
    with pytest.raises(KeyboardInterrupt):
        run_driver.drive(back.prepare_run.pk)
    monkeypatch.setattr(R2Store, "put", real)
    with pytest.raises(ChangeRefused, match="The proposal is being made"):
        change_requests.give_up(back, by=people.operator)
    named = change_helpers.fresh(back)
    assert (bool(named.object_key), named.object_sha256, named.generation is not None) == (True, "", True)
    Run.objects.open().exclude(owner="").update(lease_until=Now() - timedelta(hours=1))
    make.work()
    assert (change_helpers.proposals(mail), change_helpers.fresh(back).state) == ([named.object_key], State.DRAFT)
    change_helpers.started(change_helpers.fresh(back), people)
    make.work()
    assert change_helpers.fresh(back).outcome == Outcome.WRITTEN


def test_a_reverse_change_that_gets_no_backup_fails_with_the_reason(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = reverse_change.prepare(change_helpers.done(mail.qa, people), by=people.operator)

    def refuse(*_args: object, **_more: object) -> None:
        raise BackupRefused("no backup now")

    monkeypatch.setattr(generation_start, "create_backup", refuse)
    make.work()
    run = change_helpers.fresh(back).prepare_run
    assert run is not None
    change_helpers.refused(run, "no_backup")
    assert change_helpers.proposals(mail) == []


def _age(request: ApprovalRequest) -> None:
    """As if the request had been made nine days ago."""
    earlier = timedelta(days=9)
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.filter(pk=request.pk).update(
            created_at=F("created_at") - earlier, decide_by=F("decide_by") - earlier
        )


@pytest.mark.parametrize("decision", ["reject", "withdraw", "expire", "give up"])
def test_a_change_that_is_not_applied_loses_its_proposal(mail: make.Estate, people: make.People, decision: str) -> None:
    change = change_helpers.proposed(mail.qa, people)
    if decision == "give up":
        change_requests.give_up(change, by=people.operator)
    else:
        request = change_helpers.submitted(change, people)
        if decision == "reject":
            approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="another server")
        elif decision == "withdraw":
            approval_gate.withdraw(request, by=people.operator)
        else:
            _age(request)
            approval_gate.expire()
    make.work()
    change = change_helpers.fresh(change)
    assert (change.state, change_helpers.proposals(mail)) == (State.ENDED, [])
    assert change.erased_at is not None
    assert mail.cloudflare.calls("put_value") == []


def test_a_change_that_is_ended_early_writes_nothing(mail: make.Estate, people: make.People) -> None:
    run = change_helpers.started(change_helpers.proposed(mail.qa, people), people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    change = KeyChange.objects.get(run=run)
    change_requests.end_early(change, by=people.operator)
    make.work()
    assert change_helpers.fresh(change).outcome == Outcome.STOPPED
    assert mail.cloudflare.calls("put_value") == []
    assert Run.objects.get(pk=run.pk).state == Run.State.SUCCEEDED
