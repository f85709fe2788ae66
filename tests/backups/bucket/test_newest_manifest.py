"""The database is restored to an older state: the bucket knows, and nothing is changed until somebody accepts it."""

from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from audit import log
from audit.actions import Action
from audit.models import Entry
from backups import archive
from backups.bucket import newest_manifest
from backups.cleanup import preparation, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.deletion import chunks
from backups.deletion.send import Sender
from backups.generations import start as generation_start
from backups.generations.scope import BackupRefused
from backups.models import CleanupStage, Generation
from kvops import rollback, tasks, timing
from kvops.approvals import gate as approval_gate, prepared_changes, restored_database
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Category, DatabaseRollback, Run
from kvops.runs import driver as run_driver
from kvops.supervision import sweep
from tests import judge, make
from tests.audit.make import triggers_off
from tests.backups.bucket import yesterday
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import said, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B32")]
RESTORES = pytest.mark.django_db(transaction=True)
"""A dump is of what was committed."""

NAMES = ("master:a:1", "master:a:2", "master:b:1")


def back_up(estate: make.Estate) -> Generation:
    """A copy of other keys of QA."""
    return generation_start.start_backup(estate.qa, prefixes=["stock:"], actor=make.SETUP)


def forget_what_was_allowed(estate: make.Estate) -> None:
    """Judge the calls so far: what says that they were allowed is about to be lost."""
    assert not judge.problems(estate.cloudflare.journal, judge.approved_sets(estate.s3.objects))
    estate.cloudflare.journal.clear()


@pytest.fixture
def qa(estate: make.Estate) -> make.Estate:
    """Something to delete in QA, and a key for a copy."""
    make.family("stock:", Category.LEGACY)
    estate.put(estate.qa, "stock:x")
    return cleanup_helpers.estate_with_masters(estate, NAMES)


@pytest.fixture
def restored(qa: make.Estate, people: make.People) -> CleanupStage:
    """A stage that was approved when the dump was made; since then its keys were deleted, and a copy was made."""
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    with yesterday.dumped() as dump:
        cleanup_requests.start_deletion(stage, by=people.operator)
        back_up(qa)
        make.work()
        forget_what_was_allowed(qa)
        dump.restore()
    return cleanup_helpers.stage_of(stage.request)


@pytest.fixture
def rolled_back(qa: make.Estate) -> DatabaseRollback:
    """Somebody looked, and found a manifest of another database."""
    return roll_back(qa)


def roll_back(estate: make.Estate) -> DatabaseRollback:
    """Find a manifest of another database in the bucket of QA."""
    theirs = rollback.Seen("x.manifest.json", timezone.now(), 9999, "0" * 64)
    found = rollback.compare_manifest(estate.qa.environment, theirs)
    assert found
    return found


def look(estate: make.Estate) -> DatabaseRollback | None:
    return newest_manifest.compare_newest_manifest(estate.qa.environment)


def accept() -> None:
    call_command("accept_restored_database", reason="The disk is gone.", stdout=StringIO())


def sent(estate: make.Estate) -> int:
    return len(estate.cloudflare.calls("bulk_delete"))


@RESTORES
def test_yesterdays_dump_is_found_when_the_app_starts_and_its_approval_starts_nothing(
    restored: CleanupStage, qa: make.Estate, people: make.People
) -> None:
    sweep.sweep_once()
    for row in OrmQ.objects.all():
        if row.func() == "kvops.tasks.look_into_bucket":
            tasks.look_into_bucket(*row.args())
    found = DatabaseRollback.objects.get()
    assert found.environment == qa.qa.environment
    assert found.our_hash != found.hash
    with pytest.raises(approval_gate.ApprovalRefused, match="Read-only: the bucket of QA"):
        cleanup_requests.start_deletion(restored, by=people.operator)


@RESTORES
def test_a_run_that_starts_before_anybody_looked_looks_itself(
    restored: CleanupStage, qa: make.Estate, people: make.People
) -> None:
    newest_manifest._looked.clear()  # as in a process that was just started
    run = cleanup_requests.start_deletion(restored, by=people.operator)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, sent(qa)) == (Run.State.STOPPED, rollback.CODE, 0)


def test_nothing_is_asked_for_decided_or_backed_up(
    rolled_back: DatabaseRollback, qa: make.Estate, people: make.People
) -> None:
    with pytest.raises(BackupRefused, match="Read-only"):
        back_up(qa)
    with pytest.raises(approval_gate.ApprovalRefused, match="Read-only"), log.transaction():
        approval_gate.submit(
            ApprovalRequest.Kind.POLICY, subject="policy", title="x", evidence={}, requester=people.operator
        )
    with pytest.raises(CleanupRefused, match="Read-only"):
        cleanup_helpers.asked(people)
    with pytest.raises(approval_gate.ApprovalRefused, match="Read-only"):
        prepared_changes.prepare_change(ApprovalRequest.Kind.POLICY, definition={}, summary=[], actor=make.SETUP)
    assert not qa.s3.calls("PUT")


def test_no_names_are_frozen(qa: make.Estate, people: make.People) -> None:
    cleanup_helpers.scan(qa.qa, qa.production)
    request = cleanup_helpers.asked(people)
    roll_back(qa)
    with pytest.raises(CleanupRefused, match="Read-only"):
        preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)


def test_nothing_is_decided(qa: make.Estate, people: make.People) -> None:
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    roll_back(qa)
    with pytest.raises(approval_gate.ApprovalRefused, match="Read-only"):
        cleanup_helpers.approve(stage, people)


def test_a_deletion_sends_no_further_chunk(
    qa: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.deletion.chunks.FIRST_CHUNK", 1)
    monkeypatch.setattr(timing, "STEP", 60.0)
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    real = Sender.send
    monkeypatch.setattr(Sender, "send", lambda self, chunk: (real(self, chunk), roll_back(qa)))
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, sent(qa)) == (Run.State.FAILED, "rights_gone", 1)
    assert "Read-only" in run.error


def test_scans_go_on(rolled_back: DatabaseRollback, qa: make.Estate) -> None:
    scan = inventory_scan.start_scan(qa.qa, actor=make.SETUP)
    make.work()
    assert Run.objects.get(pk=scan.run_id).state == Run.State.SUCCEEDED


def test_a_backup_under_way_puts_nothing_more(qa: make.Estate) -> None:
    generation = back_up(qa)
    roll_back(qa)
    make.work()
    generation.run.refresh_from_db()
    assert (generation.run.state, generation.run.error_code) == (Run.State.STOPPED, rollback.CODE)
    assert not qa.s3.calls("PUT")


def test_the_pages_say_so_and_lead_every_click_back(
    rolled_back: DatabaseRollback, qa: make.Estate, people: make.People
) -> None:
    browser = signed_in(people.operator)
    page = browser.post("/cleanup/new/", follow=True)
    assert "Read-only: the bucket of QA" in said(page)[0]
    assert "accept_restored_database" in page.content.decode()
    assert browser.post("/environments/qa/stop").status_code == 302
    assert qa.qa.environment.stops.count() == 1
    assert "Read-only" in browser.get("/readyz").content.decode()


@RESTORES
def test_accepted_it_goes_on_and_nothing_of_before_revives(
    restored: CleanupStage, qa: make.Estate, people: make.People
) -> None:
    look(qa)
    accept()
    restored.refresh_from_db()
    assert (restored.state, restored.approval) == (CleanupStage.State.FROZEN, None)
    assert not ApprovalRequest.objects.filter(state__in=["pending", "approved"]).exists()
    back_up(qa)
    make.work()
    assert look(qa) is None
    assert Generation.objects.latest("pk").status == Generation.Status.VERIFIED
    entry = Entry.objects.get(action=Action.CONTRADICTION_ACCEPTED)
    assert entry.details["reason"] == "The disk is gone."


@RESTORES
def test_a_newer_backup_of_the_lost_database_is_accepted_at_the_same_time(qa: make.Estate) -> None:
    with yesterday.dumped() as dump:
        back_up(qa)
        make.work()
        first = set(qa.s3.objects)
        back_up(qa)
        make.work()
        dump.restore()
    newer = {key: qa.s3.objects.pop(key) for key in set(qa.s3.objects) - first}
    assert look(qa)
    qa.s3.objects.update(newer)
    for key in newer:
        qa.s3.stored_at[key] += timedelta(seconds=1)  # a bucket tells whole seconds; both may be made in one
    accept()
    assert (look(qa), rollback.why_read_only()) == (None, "")
    assert Entry.objects.filter(action=Action.CONTRADICTION_ACCEPTED).count() == 2


@RESTORES
def test_a_deletion_of_before_only_ends_what_it_sent(qa: make.Estate, people: make.People) -> None:
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    run_driver.drive(run.pk)
    with yesterday.dumped() as dump:
        back_up(qa)
        make.work()
        dump.restore()
    before = sent(qa)
    look(qa)
    accept()
    with pytest.raises(run_driver.NotResumable, match="rolled back during the run"):
        run_driver.resume(Run.objects.get(pk=run.pk), actor=make.SETUP)
    chunks.end_early(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    assert (Run.objects.get(pk=run.pk).state, sent(qa)) == (Run.State.SUCCEEDED, before)


def test_another_entry_of_the_same_number_is_found_too(qa: make.Estate) -> None:
    found = rollback.compare_manifest(qa.qa.environment, rollback.Seen("x.manifest.json", timezone.now(), 1, "0" * 64))
    assert found
    assert found.our_hash == bytes(Entry.objects.get(seq=1).row_hash).hex()


def test_a_database_that_made_the_backups_is_not_suspected(qa: make.Estate) -> None:
    back_up(qa)
    make.work()
    assert look(qa) is None
    assert not rollback.why_read_only()


def test_a_manifest_that_is_none_is_passed_over(qa: make.Estate, caplog: pytest.LogCaptureFixture) -> None:
    back_up(qa)
    make.work()
    newest = "qa/backups/kv/x/20991231T000000.000000Z.manifest.json"
    qa.s3.objects[newest], qa.s3.stored_at[newest] = b"{}", timezone.now() + timedelta(days=1)
    assert look(qa) is None
    assert "is passed over" in caplog.text


def test_a_bucket_that_does_not_answer_lets_no_deletion_go_on(qa: make.Estate, people: make.People) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    newest_manifest._looked.clear()
    qa.s3.fault("503", "GET", times=100)
    run_driver.drive(run.pk)
    run.refresh_from_db()
    assert "Waiting to try again" in run.note
    assert newest_manifest.look_for_rollback(qa.qa.environment) is None
    with pytest.raises(CommandError, match="cannot be served"):
        accept()
    assert sent(qa) == 0


def test_only_what_is_there_is_accepted_and_with_a_reason(qa: make.Estate) -> None:
    with pytest.raises(CommandError, match="No rollback"):
        accept()
    with pytest.raises(restored_database.NothingToAccept, match="Give the reason for accepting"):
        restored_database.accept_restored_database(actor=make.SETUP, reason=" ")


# How much is read for it


def days_old(generation: Generation, days: int) -> None:
    """As if the copy had been made so long ago, here and in the bucket."""
    with triggers_off("backups_generation"):
        Generation.objects.filter(pk=generation.pk).update(
            started_at=F("started_at") - timedelta(days=days), finished_at=F("finished_at") - timedelta(days=days)
        )


def backed_up(estate: make.Estate, *, days: int = 0) -> Generation:
    made = back_up(estate)
    make.work()
    days_old(made, days)
    made.refresh_from_db()
    return made


def of_another_database(estate: make.Estate, made: Generation) -> bytes:
    """A manifest like that of the copy, made with more entries in the record than there are."""
    document = archive.parse_manifest(estate.s3.objects[made.manifest_key])
    return replace(document, audit_sequence=9999).to_json()


def listings(estate: make.Estate) -> int:
    return len([call for call in estate.s3.calls("GET") if not call.key])


def test_a_bucket_full_of_backups_that_are_known_is_not_listed(
    qa: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qa.s3, "page_size", 10)
    made = [backed_up(qa, days=9) for _ in range(newest_manifest.TRIES)]
    folder = made[0].stem.rpartition("/")[0]
    qa.s3.objects |= {f"{folder}/20200101T000000.{number:06}Z.manifest.json": b"{}" for number in range(500)}
    before = listings(qa)
    assert look(qa) is None
    assert listings(qa) - before <= 4


def test_whoever_looks_keeps_a_lease_between_the_pages(qa: make.Estate) -> None:
    kept: list[int] = []
    before = listings(qa)
    newest_manifest.compare_newest_manifest(qa.qa.environment, lambda: kept.append(1))
    assert len(kept) == listings(qa) - before > 0


def test_folders_this_database_does_not_know_are_listed_whole(qa: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qa.s3, "page_size", 10)
    made = backed_up(qa, days=9)
    theirs = "qa/backups/kv/another/20200101T000000.000000Z"
    qa.s3.objects |= {f"qa/backups/kv/another/2019.{number}": b"" for number in range(30)}
    qa.s3.objects[f"{theirs}.manifest.json"] = of_another_database(qa, made)
    qa.s3.stored_at[f"{theirs}.manifest.json"] = timezone.now() + timedelta(minutes=1)
    found = look(qa)
    assert found is not None
    assert found.manifest_key == f"{theirs}.manifest.json"


def test_a_backup_that_was_being_written_is_asked_for_by_its_name(
    qa: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qa.s3, "page_size", 10)
    made = [backed_up(qa, days=9) for _ in range(newest_manifest.TRIES)]
    folder = made[0].stem.rpartition("/")[0]
    qa.s3.objects |= {f"{folder}/2019.{number}": b"" for number in range(30)}
    slow = back_up(qa)
    with triggers_off("backups_generation"):
        Generation.objects.filter(pk=slow.pk).update(stem=f"{folder}/20200101T000000.000000Z")
    theirs = f"{folder}/20200101T000000.000000Z.manifest.json"
    qa.s3.objects[theirs] = of_another_database(qa, made[0])
    qa.s3.stored_at[theirs] = timezone.now() + timedelta(minutes=1)
    found = look(qa)
    assert found is not None
    assert found.manifest_key == theirs


def test_a_backup_of_its_own_does_not_hide_a_manifest_that_nobody_saw(qa: make.Estate) -> None:
    """As by a command, before any process looked."""
    theirs = "qa/backups/kv/stock/20200101T000000.000000Z.manifest.json"
    qa.s3.objects[theirs] = of_another_database(qa, backed_up(qa))
    qa.s3.stored_at[theirs] = timezone.now() + timedelta(minutes=1)
    mine = generation_start.start_backup(qa.qa, prefixes=["stock:"], actor=make.SETUP, foreground=True)
    list(run_driver.drive_to_the_end(mine.run))
    mine.refresh_from_db()
    assert (mine.status, mine.run.error_code) == ("writing", rollback.CODE)
    assert f"{mine.stem}.manifest.json" not in qa.s3.objects
    assert "Read-only: the bucket of QA" in rollback.why_read_only()


def test_the_manifest_of_an_investigation_contradicts_as_well(qa: make.Estate) -> None:
    theirs = "investigations/qa/mastercache/20991231T000000.000000Z.manifest.json"
    qa.s3.objects[theirs] = of_another_database(qa, backed_up(qa))
    qa.s3.stored_at[theirs] = timezone.now() + timedelta(minutes=1)
    assert look(qa)


def test_a_run_that_no_worker_took_yet_ends_when_the_database_is_accepted(qa: make.Estate, people: make.People) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    roll_back(qa)
    accept()
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.FAILED, rollback.CODE)
