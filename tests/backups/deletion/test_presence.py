"""A key is deleted only while its backup is in the bucket as it was written, whatever its category."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit.models import Entry as AuditEntry
from backups.cleanup import preparation, requests as cleanup_requests
from backups.models import CleanupStage, Generation, StoredObject
from kvops import timing
from kvops.models import ApprovalRequest, Category, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.gate.world import tampered

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
PREFIXES = {"settings": "mail:smtp", "cache": "mastercache:", "legacy": "master:"}
CATEGORIES = pytest.mark.parametrize("category", PREFIXES)


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def approved(estate: make.Estate, people: make.People, category: str) -> CleanupStage:
    """QA's stage for keys of the category, approved."""
    generation_helpers.dataset()
    make.family("mail:", Category.SETTINGS)
    estate.put(estate.qa, "mail:smtp", b"{}")
    estate.put(estate.qa, "mastercache:1", b"{}")
    cleanup_helpers.fill(estate, "master:a:1", "master:a:2", slugs=["qa"])
    cleanup_helpers.scan(estate.qa, estate.production)
    request = cleanup_requests.request(
        binding="SETTINGS",
        prefix=PREFIXES[category],
        exact=category == "settings",
        reason="no longer needed",
        by=people.operator,
    )
    preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)
    preparation.prepare_stage(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    cleanup_helpers.search_code(request)
    cleanup_helpers.share(cleanup_helpers.stage_of(request), people)
    cleanup_requests.submit(cleanup_helpers.stage_of(request), by=people.operator)
    cleanup_helpers.approve(cleanup_helpers.stage_of(request), people)
    return cleanup_helpers.stage_of(request)


def deleted(stage: CleanupStage, people: make.People) -> Run:
    run = cleanup_requests.start_deletion(stage, by=people.operator)
    return worked(run)


def worked(run: Run) -> Run:
    make.work()
    run.refresh_from_db()
    return run


def backup_of(stage: CleanupStage) -> Generation:
    return Generation.objects.get(stages=stage)


@CATEGORIES
def test_it_is_deleted_while_its_backup_is_there(estate: make.Estate, people: make.People, category: str) -> None:
    run = deleted(approved(estate, people, category), people)
    assert (run.state, bool(cleanup_helpers.journal(estate))) == ("succeeded", True)


@CATEGORIES
def test_nothing_is_deleted_when_the_data_of_its_backup_is_gone(
    estate: make.Estate, people: make.People, category: str
) -> None:
    stage = approved(estate, people, category)
    for key in backup_of(stage).object_keys():
        del estate.s3.objects[key]
    run = deleted(stage, people)
    assert (run.state, cleanup_helpers.journal(estate)) == ("failed", {})
    assert category == "legacy" or "is gone. Nothing was deleted." in run.error


@CATEGORIES
def test_nothing_is_deleted_when_another_object_has_its_name(
    estate: make.Estate, people: make.People, category: str
) -> None:
    stage = approved(estate, people, category)
    estate.s3.corrupt(f"{backup_of(stage).stem}.RESTORE.md", 3)
    run = deleted(stage, people)
    assert (run.state, run.error_code, cleanup_helpers.journal(estate)) == ("failed", "backup_gone", {})


@CATEGORIES
def test_a_verification_older_than_a_day_is_repeated_first(
    estate: make.Estate, people: make.People, category: str
) -> None:
    stage = approved(estate, people, category)
    tampered(backup_of(stage), verified_at=Now() - timedelta(hours=25))
    run = deleted(stage, people)
    assert (run.state, run.cursor.get("read_back")) == ("succeeded", None), run.error
    assert backup_of(stage).verified_at > ApprovalRequest.objects.get(cleanupstage=stage).created_at  # type: ignore[operator]


def test_what_that_finds_damaged_is_not_relied_on(estate: make.Estate, people: make.People) -> None:
    stage = approved(estate, people, "cache")
    backup = backup_of(stage)
    tampered(backup, verified_at=Now() - timedelta(hours=25))
    for key in backup.object_keys():
        estate.s3.corrupt(key, 9)
        StoredObject.objects.filter(key=key).update(written_etag="")
    run = deleted(stage, people)
    assert (run.state, run.error_code, cleanup_helpers.journal(estate)) == ("failed", "backup_damaged", {})
    assert backup_of(stage).status == "damaged"
    assert AuditEntry.objects.filter(action="generation.damaged").count() == 1


def test_when_the_objects_are_back_the_run_goes_on(estate: make.Estate, people: make.People) -> None:
    stage = approved(estate, people, "cache")
    key = backup_of(stage).object_keys()[0]
    body = estate.s3.objects.pop(key)
    run = deleted(stage, people)
    estate.s3.objects[key] = body
    run_driver.resume(run, actor=people.operator.actor)
    assert (worked(run).state, len(cleanup_helpers.journal(estate))) == ("succeeded", 1)


def test_an_object_whose_etag_is_not_known_is_read_again_and_its_etag_stored(
    estate: make.Estate, people: make.People
) -> None:
    stage = approved(estate, people, "cache")
    StoredObject.objects.filter(generation=backup_of(stage)).delete()
    assert deleted(stage, people).state == "succeeded"
    assert set(StoredObject.objects.exclude(written_etag="").values_list("key", flat=True)) >= set(
        backup_of(stage).every_object()
    )


def test_a_deletion_of_settings_without_a_lock_needs_the_reviewers_acceptance(
    estate: make.Estate, people: make.People
) -> None:
    environment = estate.qa.environment
    estate.cloudflare.bucket(environment.account_id, environment.r2_bucket).rules.clear()
    with pytest.raises(Exception, match="names risks"):
        approved(estate, people, "settings")
