"""Clocks that are apart: the database's, those of the services, and that of the process, which counts for nothing."""

import time
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from audit import log
from audit.actions import Action
from audit.models import Entry
from backups.bucket import newest_manifest
from backups.cleanup import requests as cleanup_requests
from backups.generations import scope, start as generation_start
from backups.models import CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.connections import skew
from kvops.models import Run, Skew
from kvops.refusals import Refused
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in
from tests.torture import movable_clock

pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B20")]

APART = (3_600.0, -86_400.0)


@pytest.fixture
def qa(estate: make.Estate) -> make.Estate:
    return cleanup_helpers.estate_with_masters(estate)


def apart(seconds: float) -> float:
    return time.time() + seconds


def deletion(people: make.People) -> Run:
    return cleanup_helpers.started(cleanup_helpers.asked(people), people)


def worked(run: Run) -> Run:
    newest_manifest._looked.clear()  # as in a process that was just started
    make.work()
    run.refresh_from_db()
    return run


@pytest.mark.parametrize("seconds", APART)
def test_cloudflares_clock_is_apart_and_nothing_is_deleted(
    qa: make.Estate, people: make.People, seconds: float
) -> None:
    run = deletion(people)
    qa.cloudflare.dates = partial(apart, seconds)
    assert worked(run).error_code == skew.CODE
    assert f"{'behind' if seconds > 0 else 'ahead of'} that of Cloudflare" in run.error
    assert not qa.cloudflare.calls("bulk_delete")


@pytest.mark.parametrize("seconds", APART)
def test_the_buckets_clock_is_apart_and_nothing_is_deleted(
    qa: make.Estate, people: make.People, seconds: float
) -> None:
    run = deletion(people)
    qa.s3.dates = partial(apart, seconds)
    assert worked(run).error_code == skew.CODE
    assert not qa.cloudflare.calls("bulk_delete")


@pytest.mark.parametrize("service", ["cloudflare", "s3"])
def test_a_services_clock_is_apart_and_nothing_is_restored(qa: make.Estate, people: make.People, service: str) -> None:
    generation = restore_helpers.verified_backup(qa.qa, "master:")
    restore_helpers.wipe(qa, qa.qa)
    run = restore_helpers.started(restore_helpers.prepared(generation, people), people)
    getattr(qa, service).dates = partial(apart, 3_600.0)
    assert worked(run).error_code == skew.CODE
    assert not qa.cloudflare.calls("bulk_put")


def test_the_environments_page_shows_it(qa: make.Estate, people: make.People) -> None:
    run = deletion(people)
    qa.cloudflare.dates = partial(apart, 90.0)
    worked(run)
    text = signed_in(people.auditor).get("/environments/").content.decode()
    assert "Nothing is deleted or restored until the clock is correct." in text
    assert Skew.objects.get(environment=qa.qa.environment, service="cloudflare").apart in {89, 90, 91}


def test_less_than_a_minute_stops_nothing(qa: make.Estate, people: make.People) -> None:
    run = deletion(people)
    qa.cloudflare.dates = qa.s3.dates = partial(apart, 50.0)
    assert worked(run).state == Run.State.SUCCEEDED


def test_set_right_again_the_run_goes_on(qa: make.Estate, people: make.People) -> None:
    run = deletion(people)
    qa.cloudflare.dates = qa.s3.dates = partial(apart, 90.0)
    worked(run)
    qa.cloudflare.dates = qa.s3.dates = time.time
    run_driver.resume(run, actor=make.SETUP)
    assert worked(run).state == Run.State.SUCCEEDED


@pytest.mark.parametrize("seconds", APART)
def test_the_clock_of_the_process_counts_for_nothing(
    qa: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    real, real_now = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    monkeypatch.setattr(timezone, "now", lambda: real_now() + timedelta(seconds=seconds))
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    assert (stage.state, stage.deleted) == (CleanupStage.State.CONFIRMED, len(cleanup_helpers.NAMES))
    assert stage.approval
    assert stage.approval.use_by
    assert timedelta(hours=23) < stage.approval.use_by - real_now() < timedelta(hours=25)
    assert stage.generation
    assert abs(stage.generation.started_at - real_now()) < timedelta(minutes=5)


def set_back() -> None:
    """The audit log's newest entry is of an hour from now."""
    with movable_clock.clock() as clock:
        clock.move(3_600)
        log.refusal(Action.REFUSED, actor=make.SETUP, subject="later")


def test_a_clock_that_went_back_lets_nothing_be_asked_for_decided_or_backed_up(
    qa: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    set_back()
    with pytest.raises(approval_gate.ApprovalRefused, match="behind the newest entry"):
        cleanup_helpers.approve(stage, people)
    with pytest.raises(scope.BackupRefused, match="clock is behind"):
        generation_start.start_backup(qa.qa, prefixes=["master:zz"], actor=make.SETUP)


def test_a_clock_that_went_back_starts_nothing(qa: make.Estate, people: make.People) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    set_back()
    with pytest.raises(Refused, match="behind the newest entry"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    assert not Run.objects.filter(kind=Run.Kind.DELETE).exists()


def test_an_emergency_stop_is_recorded_all_the_same_with_the_time_of_the_newest_entry(
    qa: make.Estate, people: make.People
) -> None:
    set_back()
    newest = Entry.objects.latest("seq")
    emergency.press(qa.qa.environment, by=people.auditor)
    entry = Entry.objects.get(action=Action.EMERGENCY_STOPPED)
    assert (entry.seq, entry.at) == (newest.seq + 1, newest.at)
