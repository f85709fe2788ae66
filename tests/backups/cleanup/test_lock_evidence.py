"""A legacy clean-up relies on a copy that R2 keeps; where it does not, a reviewer accepts that by name."""

import json
from datetime import UTC, timedelta

import pytest
from django.db.models import F

from backups.bucket import protection as bucket_protection
from backups.cleanup import requests as cleanup_requests, stages
from backups.models import BucketProtection, CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare_api import FakeBucket

pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B19")]


@pytest.fixture
def qa(estate: make.Estate) -> make.Estate:
    estate.put(estate.qa, "mastercache:x")
    return cleanup_helpers.estate_with_masters(estate)


@pytest.fixture
def bucket(qa: make.Estate) -> FakeBucket:
    environment = qa.qa.environment
    return qa.cloudflare.bucket(environment.account_id, environment.r2_bucket)


def shown(stage: CleanupStage) -> dict[str, object]:
    assert stage.approval
    return dict(json.loads(stage.approval.evidence))


def approved(stage: CleanupStage, people: make.People) -> CleanupStage:
    request = ApprovalRequest.objects.get(cleanupstage=stage)
    accepted = shown(stage)["risks"]
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=accepted)  # type: ignore[arg-type]
    return cleanup_helpers.stage_of(stage.request)


def aged(hours: float) -> None:
    BucketProtection.objects.update(read_at=F("read_at") - timedelta(hours=hours))


def test_a_locked_backup_is_shown_and_names_no_risk(bucket: FakeBucket, people: make.People) -> None:
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert stage.generation is not None
    assert stage.generation.finished_at is not None
    until = stage.generation.finished_at + timedelta(days=30)
    found = shown(stage)
    assert found["risks"] == []
    end = until.astimezone(UTC).isoformat()
    assert found["lock"] == {"state": "held", "forever": False, "locked_until": end, "rules": ["rule-1"]}


@pytest.mark.parametrize(
    ("lock", "risk"),
    [
        ({"prefix": "other/"}, "lock_missing"),
        ({"prefix": "qa/backups/", "enabled": False}, "lock_disabled"),
        ({"prefix": "qa/backups/", "days": 13}, "lock_short"),
    ],
)
def test_without_a_lock_the_deletion_needs_the_reviewers_acceptance(
    bucket: FakeBucket, people: make.People, lock: dict[str, object], risk: str
) -> None:
    bucket.rules.clear()
    bucket.lock(**lock)  # type: ignore[arg-type]
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert shown(stage)["risks"] == [risk]
    with pytest.raises(approval_gate.ApprovalRefused, match="names risks"):
        cleanup_helpers.approve(stage, people)
    run = cleanup_requests.start_deletion(approved(stage, people), by=people.operator)
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, run.error


def test_a_public_bucket_is_a_warning(bucket: FakeBucket, people: make.People) -> None:
    bucket.connect("copies.example.com")
    found = shown(cleanup_helpers.submitted(cleanup_helpers.asked(people), people))
    assert {"code": "bucket_public", "hosts": ["copies.example.com"]} in found["warnings"]  # type: ignore[operator]


def test_a_lock_that_went_after_the_approval_starts_nothing(
    qa: make.Estate, bucket: FakeBucket, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    bucket.rules.clear()
    bucket_protection.ask_cloudflare(qa.qa.environment)
    with pytest.raises(stages.CleanupRefused, match="The lock of R2 on the backup differs from the approved one"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    assert cleanup_helpers.stage_of(stage.request).state == CleanupStage.State.FROZEN


def test_a_lock_that_was_not_known_and_is_known_now_is_no_other_list_of_keys(
    qa: make.Estate, bucket: FakeBucket, people: make.People
) -> None:
    qa.cloudflare.fault("bucket_lock", "refusal", status=403, code=10000, times=99)
    stage = approved(cleanup_helpers.submitted(cleanup_helpers.asked(people), people), people)
    qa.cloudflare.heal()
    bucket_protection.ask_cloudflare(qa.qa.environment)
    with pytest.raises(stages.CleanupRefused, match="it was not known whether R2 locks the backup"):
        cleanup_requests.start_deletion(stage, by=people.operator)


def test_a_lock_nobody_can_tell_of_any_more_starts_nothing_and_costs_no_approval(
    qa: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    aged(hours=2)
    with pytest.raises(stages.CleanupRefused, match="did not answer for an hour"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    assert cleanup_helpers.stage_of(stage.request).state == CleanupStage.State.APPROVED
    bucket_protection.ask_cloudflare(qa.qa.environment)
    assert cleanup_requests.start_deletion(stage, by=people.operator).state == Run.State.QUEUED


def test_a_lock_that_goes_after_the_start_is_seen_before_the_first_delete(
    qa: make.Estate, bucket: FakeBucket, people: make.People
) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    bucket.rules.clear()
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.FAILED, "stale")
    assert not qa.cloudflare.calls("bulk_delete")


def test_a_silent_configuration_api_pauses_the_deletion_and_ends_nothing(qa: make.Estate, people: make.People) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    aged(hours=2)
    qa.cloudflare.fault("bucket_lock", "error", times=999)
    for _ in range(4):
        Run.objects.update(wake_at=None)
        run_driver.drive(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.RUNNING, run.error
    assert "Waiting to try again: It is unknown whether R2 still locks backup" in run.note
    assert not qa.cloudflare.calls("bulk_delete")
    qa.cloudflare.heal()
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, run.error
