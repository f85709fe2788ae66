"""What schedules start by themselves: expected copies, their read-back, their checks; and what is told of it."""

import os
from datetime import timedelta

import pytest

from audit import log
from backups.generations import announcements as generation_announcements, routine
from backups.models import Generation
from kvops.models import Environment, Notification, NotificationEvent, Run, Schedule
from kvops.schedules import jobs as schedule_jobs
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers

HOURS = {"interval_hours": 24, "grace_hours": 6}


@pytest.fixture
def qa(estate: make.Estate) -> Environment:
    """QA with masters in KV and D1, of which a copy is expected each day, and a channel."""
    cleanup_helpers.estate_with_masters(estate)
    make.change_families("master:", **HOURS)
    os.environ["TEST_SLACK"] = "http://127.0.0.1:9/x"
    Environment.objects.update(slack="env:TEST_SLACK")
    return Environment.objects.get(slug="qa")


@pytest.fixture(autouse=True)
def _nobody_was_told_yet(qa: Environment) -> None:
    Notification.objects.all().delete()


def fire(job: str, *, days: int = 0) -> list[Run]:
    """The runs that QA's schedule of this job starts."""
    schedule_jobs.provide()
    schedule = Schedule.objects.get(job=job, environment__slug="qa")
    schedule_jobs.fire(schedule.pk, schedule.next_at + timedelta(days=days))
    return list(Run.objects.filter(firing__schedule=schedule).order_by("pk"))


def told() -> list[str]:
    return sorted(Notification.objects.filter(person=None).values_list("event", flat=True))


def test_a_family_that_expects_a_backup_gets_one_which_is_read_back(qa: Environment) -> None:
    (run,) = fire("backup")
    make.work()
    made = Generation.objects.get(run=run)
    assert (made.prefixes, made.status, made.actor) == (["master:"], "verified", "system:schedule")
    assert told() == [NotificationEvent.GENERATION_MADE]


def test_a_family_with_a_young_backup_or_without_keys_or_interval_gets_none(qa: Environment) -> None:
    fire("backup")
    make.work()
    assert routine.back_up_due(qa, make.SETUP).runs == []
    make.change_families(interval_hours=0, grace_hours=0)
    assert routine.back_up_due(qa, make.SETUP).runs == []


def test_what_cannot_be_backed_up_says_why_and_the_rest_is_backed_up(qa: Environment, estate: make.Estate) -> None:
    estate.put(estate.qa, "system-root", b"{}")
    cleanup_helpers.scan(estate.qa)
    make.change_families("system-root", **HOURS)
    assert len(fire("backup")) == 1
    (firing,) = Schedule.objects.get(job="backup", environment=qa).firings.all()
    assert (firing.outcome, "must be backed up encrypted" in firing.reason) == ("started", True)
    assert NotificationEvent.SCHEDULE_REFUSED in told()


def test_no_schedule_backs_up_a_cache(qa: Environment, estate: make.Estate) -> None:
    estate.put(estate.qa, "mastercache:all", b"[]")
    cleanup_helpers.scan(estate.qa)
    make.change_families("mastercache:", **HOURS)
    assert len(fire("backup")) == 1
    assert [made.prefixes for made in Generation.objects.all()] == [["master:"]]
    (firing,) = Schedule.objects.get(job="backup", environment=qa).firings.all()
    assert "Caches are backed up only for an investigation" in firing.reason


def test_the_newest_backup_is_read_back_again_and_checked_against_d1(qa: Environment) -> None:
    fire("backup")
    make.work()
    kinds = [run.kind for job in ("verify", "check") for run in fire(job)]
    make.work()
    assert kinds == ["verify", "check"]
    assert Generation.objects.get().checks.get().outcome == "passed"


def test_a_backup_that_is_damaged_is_told(qa: Environment, estate: make.Estate) -> None:
    fire("backup")
    make.work()
    key = Generation.objects.get().parts.get().object_key
    estate.s3.objects[key] = estate.s3.objects[key].replace(b"No. 1", b"No. 9")
    fire("verify")
    make.work()
    assert NotificationEvent.GENERATION_DAMAGED in told()


def test_a_partial_backup_is_told_as_failed(qa: Environment) -> None:
    (run,) = fire("backup")
    partial = Generation.objects.get(run=run)
    partial.status, partial.vanished = "partial", 2
    with log.transaction():
        generation_announcements.made(partial)
    assert told() == [NotificationEvent.GENERATION_FAILED]
    lines = Notification.objects.get(person=None).lines
    assert lines[-1] == "Listed keys that the backup lacks: 2. Its page says why."


def test_in_another_bucket_everything_is_backed_up_anew_and_nothing_of_before_is_read_back(qa: Environment) -> None:
    fire("backup")
    make.work()
    Environment.objects.filter(pk=qa.pk).update(r2_bucket="another")
    moved = Environment.objects.get(pk=qa.pk)
    with log.transaction():
        assert routine.verify_newest(moved, make.SETUP).runs == []
        assert len(routine.back_up_due(moved, make.SETUP).runs) == 1
