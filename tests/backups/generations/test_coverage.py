"""Can each family be restored, since when is that proven, is the next copy in time; and who is told of deadlines."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.utils import timezone

from audit import log
from backups.generations import coverage as family_coverage
from backups.generations.coverage import Light, NewestBackup
from backups.retention import notices as retention_notices, pins
from kvops.models import Environment, Family, Firing, Notification, NotificationEvent, Schedule
from kvops.notifications import outbox
from kvops.schedules import jobs as schedule_jobs
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def daily(estate: make.Estate) -> make.Estate:
    """Copies of master: are expected every day, and are overdue half a day later."""
    make.change_families("master:", interval_hours=24, grace_hours=12)
    return estate


def of_masters(estate: make.Estate) -> NewestBackup:
    found = dict(family_coverage.in_environment(estate.qa.environment))
    return found[Family.objects.get(pattern="master:")]


@pytest.mark.parametrize(
    ("hours", "light"), [(23, Light.ON_TIME), (25, Light.LATE), (35, Light.LATE), (37, Light.OVERDUE)]
)
def test_the_newest_verified_backup_says_whether_the_next_is_late(daily: make.Estate, hours: int, light: Light) -> None:
    backup_of_age(daily.qa, hours / 24)
    backup_of_age(daily.qa, 0, status="complete")
    assert of_masters(daily).light == light


def test_a_family_that_was_never_backed_up_is_an_alarm(daily: make.Estate, people: make.People) -> None:
    assert of_masters(daily).light == Light.NEVER
    assert "A backup of 1 family is overdue" in signed_in(people.auditor).get("/").text


def test_before_the_first_due_time_a_family_awaits_its_first_backup(daily: make.Estate, people: make.People) -> None:
    schedule_jobs.provide()
    page = signed_in(people.auditor).get("/").text
    assert (of_masters(daily).light, "first one to come" in page) == (Light.FIRST, True)
    assert ("is overdue" in page, tell(daily)) == (False, set())
    mine = Schedule.objects.get(job="backup", environment=daily.qa.environment)
    Firing.objects.create(schedule=mine, due_at=timezone.now() - timedelta(hours=2), outcome="started")
    assert of_masters(daily).light == Light.NEVER


def test_a_backup_in_another_bucket_protects_nothing(daily: make.Estate) -> None:
    backup_of_age(daily.qa, 0)
    Environment.objects.update(r2_bucket="another")
    assert (of_masters(daily).light, of_masters(daily).generation) == (Light.NEVER, None)


def test_a_verified_backup_of_no_keys_protects_nothing(daily: make.Estate) -> None:
    backup_of_age(daily.qa, 0, keys=0)
    assert (of_masters(daily).light, of_masters(daily).generation) == (Light.NEVER, None)


def test_a_family_without_keys_needs_no_backup(daily: make.Estate) -> None:
    cleanup_helpers.scan(daily.qa)
    assert of_masters(daily).light == Light.UNEXPECTED


def test_less_than_14_days_is_an_alarm_if_an_older_backup_was_lost(daily: make.Estate, people: make.People) -> None:
    backup_of_age(daily.qa, 15, status="damaged"), backup_of_age(daily.qa, 0.5)
    assert (of_masters(daily).short, of_masters(daily).growing) == (True, False)
    assert "less than 14 days of restore history" in signed_in(people.auditor).get("/").text
    backup_of_age(daily.qa, 15)
    assert (of_masters(daily).short, of_masters(daily).growing) == (False, False)


def test_in_the_first_14_days_a_short_history_is_a_state_and_no_alarm(daily: make.Estate, people: make.People) -> None:
    backup_of_age(daily.qa, 13), backup_of_age(daily.qa, 0.5)
    assert (of_masters(daily).short, of_masters(daily).growing) == (False, True)
    assert tell(daily) == set()
    page = signed_in(people.auditor).get("/").text
    assert "less than 14 days of restore history" not in page
    grown = of_masters(daily).grown_at
    assert grown is not None
    assert (
        f"14 days of history on {timezone.localtime(grown):%Y-%m-%d}" in signed_in(people.auditor).get("/backups/").text
    )


def test_the_overview_says_to_which_moment_and_since_when(daily: make.Estate, people: make.People) -> None:
    newest = backup_of_age(daily.qa, 0.5)
    page = signed_in(people.auditor).get("/").text
    assert f'href="/backups/{newest.pk}/"' in page
    assert "Last 14 days: 2 on time, 0 late, 12 without a backup" in page or "Last 14 days: 1 on time" in page


@pytest.mark.parametrize(("left", "told"), [(7.5, None), (6.9, 7), (3.5, 7), (2.9, 3), (1.0, 1), (0.2, 1)])
def test_a_notice_is_due_on_its_day_and_the_nearest_counts(left: float, told: int | None) -> None:
    assert retention_notices.due_notice([7, 3, 1], EPOCH + timedelta(days=left), EPOCH) == told


def tell(estate: make.Estate) -> set[tuple[str, str, str]]:
    """What was told by the job, after it ran twice."""
    for _ in range(2):
        with log.transaction():
            retention_notices.before_deletion(estate.qa.environment, make.SETUP)
            retention_notices.in_time(estate.qa.environment, make.SETUP)
    return set(Notification.objects.values_list("event", "subject", "person__name"))


def test_operators_reviewers_and_the_owner_are_told_once(estate: make.Estate, people: make.People) -> None:
    make.change_families("master:", owner="nobody@example.com")
    old = backup_of_age(estate.qa, 28)
    backup_of_age(estate.qa, 1)
    told = tell(estate)
    assert told == {
        (NotificationEvent.GENERATION_DEADLINE, f"generation:{old.pk}", name)
        for name in ("Operator", "Operator2", "Reviewer", "Nobody")
    }
    assert set(Notification.objects.values_list("link", flat=True)) == {f"/backups/{old.pk}/pin?notice=1"}


def test_a_backup_that_is_held_or_the_newest_is_not_announced(estate: make.Estate, people: make.People) -> None:
    pinned = backup_of_age(estate.qa, 29)
    backup_of_age(estate.qa, 29)
    pins.pin(pinned, reason="no longer needed", by=people.auditor)
    assert tell(estate) == set()


def test_a_backup_past_its_date_is_told_once(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 31)
    backup_of_age(estate.qa, 1)
    assert {(event, subject) for event, subject, _ in tell(estate)} == {
        (NotificationEvent.GENERATION_PAST_DEADLINE, f"generation:{old.pk}")
    }


@pytest.mark.parametrize(
    ("ages", "event"),
    [
        ([(26 / 24, "verified")], NotificationEvent.GENERATION_LATE),
        ([(40 / 24, "verified")], NotificationEvent.GENERATION_OVERDUE),
        ([(15, "damaged"), (0.5, "verified")], NotificationEvent.COVERAGE_SHORT),
    ],
)
def test_the_channel_of_the_environment_is_told_too(
    daily: make.Estate, ages: list[tuple[float, str]], event: NotificationEvent
) -> None:
    Environment.objects.update(slack="env:TEST_SLACK")
    daily.qa.environment.refresh_from_db()
    for age, status in ages:
        backup_of_age(daily.qa, age, status=status)
    tell(daily)
    family = Family.objects.get(pattern="master:")
    assert Notification.objects.filter(event=event, subject=f"family:{family.pk}", person=None).count() == 1


def test_a_late_backup_is_told_to_the_owner_of_its_family(daily: make.Estate, people: make.People) -> None:
    make.change_families("master:", owner="nobody@example.com")
    backup_of_age(daily.qa, 26 / 24)
    assert (NotificationEvent.GENERATION_LATE, "Nobody") in {(event, name) for event, _, name in tell(daily)}


def test_the_late_backups_of_every_environment_are_one_message_for_each_person(
    daily: make.Estate, people: make.People
) -> None:
    schedule_jobs.provide()
    at = Schedule.objects.filter(job="lateness").earliest("pk").next_at
    Schedule.objects.exclude(job="lateness").update(paused_at=at, paused_by=people.operator, paused_reason="x")
    assert schedule_jobs.fire_due(at) == 2
    assert Notification.objects.filter(person=people.operator).count() == 2
    for pk in Notification.objects.order_by("pk").values_list("pk", flat=True):
        outbox.deliver(pk)
    assert sorted(one.to[0] for one in mail.outbox) == [
        "operator2@example.com",
        "operator@example.com",
        "reviewer@example.com",
    ]
    assert {one.subject for one in mail.outbox} == {"[KVOps] 2 notifications: backup overdue (2)"}
