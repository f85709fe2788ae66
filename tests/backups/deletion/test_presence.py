"""A key is deleted only while its backup is in the bucket as it was written, whatever its category."""

import pytest

from backups.cleanup import preparation, requests as cleanup_requests
from backups.models import CleanupStage, Generation
from kvops import timing
from kvops.models import Category, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers

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


def test_when_the_objects_are_back_the_run_goes_on(estate: make.Estate, people: make.People) -> None:
    stage = approved(estate, people, "cache")
    key = backup_of(stage).object_keys()[0]
    body = estate.s3.objects.pop(key)
    run = deleted(stage, people)
    estate.s3.objects[key] = body
    run_driver.resume(run, actor=people.operator.actor)
    assert (worked(run).state, len(cleanup_helpers.journal(estate))) == ("succeeded", 1)


def test_a_deletion_of_settings_without_a_lock_needs_the_reviewers_acceptance(
    estate: make.Estate, people: make.People
) -> None:
    environment = estate.qa.environment
    estate.cloudflare.bucket(environment.account_id, environment.r2_bucket).rules.clear()
    with pytest.raises(Exception, match="names risks"):
        approved(estate, people, "settings")
