"""The pages of the schedules: when, whether, the pause, and the runs that a schedule started."""

import re
from datetime import UTC, timedelta

import pytest
from django.test import Client

from kvops.models import Run, Schedule
from kvops.schedules import jobs as schedule_jobs, punctuality
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


@pytest.fixture
def schedule(estate: make.Estate) -> Schedule:
    """The scan of QA, which was due."""
    schedule_jobs.provide()
    found = Schedule.objects.get(job="scan", environment__slug="qa")
    schedule_jobs.fire(found.pk, found.next_at)
    return found


def text(browser: Client, address: str = "/schedules/") -> str:
    return browser.get(address).content.decode()


def test_before_there_is_an_environment_the_page_says_what_comes(operator: Client) -> None:
    assert "No schedule yet" in text(operator)


def test_the_page_says_what_starts_when_and_whether_it_did(operator: Client, schedule: Schedule) -> None:
    page = text(operator)
    assert all(words in page for words in ("Scan of every namespace", "every day at 01:17", "Under way", "Not due yet"))


def test_the_page_has_the_next_three_due_times(operator: Client, schedule: Schedule) -> None:
    [standing] = punctuality.punctuality_of([Schedule.objects.get(pk=schedule.pk)])
    page, due = text(operator), [f'datetime="{at.astimezone(UTC).isoformat()}"' for at in standing.following]
    assert [len(due), *(one in page for one in due)] == [3, True, True, True]


def test_all_times_of_the_page_are_in_the_zone_of_the_team(operator: Client, schedule: Schedule) -> None:
    Schedule.objects.update(zone="America/New_York")
    for address in ("/schedules/", f"/schedules/{schedule.pk}/"):
        zones = set(re.findall(r"<time[^>]*>[^<]+<small[^>]*>([^<]+)</small></time>", text(operator, address)))
        assert (zones, "data-local" in text(operator, address)) == ({"JST"}, False)


def test_a_run_and_the_schedule_that_started_it_lead_to_each_other(operator: Client, schedule: Schedule) -> None:
    run = Run.objects.get()
    assert f"/runs/{run.pk}/" in text(operator, f"/schedules/{schedule.pk}/")
    assert f"/schedules/{schedule.pk}/" in text(operator, f"/runs/{run.pk}/")


def test_the_due_times_are_filtered_by_the_address(operator: Client, schedule: Schedule) -> None:
    assert "Nothing matches" in text(operator, f"/schedules/{schedule.pk}/?outcome=refused")
    assert "A filter cannot be read" in text(operator, f"/schedules/{schedule.pk}/?outcome=x")


def test_an_operator_pauses_it_with_a_reason_and_ends_the_pause(operator: Client, schedule: Schedule) -> None:
    address = f"/schedules/{schedule.pk}/"
    operator.post(f"{address}pause", {"reason": "the migration of July"})
    assert all("the migration of July" in text(operator, page) for page in (address, "/schedules/"))
    assert "The schedule is active again." in operator.post(f"{address}unpause", follow=True).content.decode()


def test_an_overdue_schedule_is_an_alarm(operator: Client, schedule: Schedule) -> None:
    assert "is overdue" not in text(operator, "/")
    for day in (1, 2):
        schedule.firings.create(
            due_at=schedule.next_at + timedelta(days=day), outcome="refused", reason="Somebody is at it."
        )
    assert "1 schedule is overdue" in text(operator, "/")


def test_a_wrong_expression_says_what_it_takes(operator: Client, schedule: Schedule) -> None:
    data = {"expression": "often", "zone": "Asia/Tokyo"}
    page = operator.post(f"/schedules/{schedule.pk}/change", data, follow=True).content.decode()
    assert "five fields of cron" in page
    data["expression"] = "0 5 * * *"
    assert (
        "The schedule is changed."
        in operator.post(f"/schedules/{schedule.pk}/change", data, follow=True).content.decode()
    )


def test_the_audit_log_names_a_schedule_in_the_language_of_its_reader(operator: Client, schedule: Schedule) -> None:
    assert "QA: Scan of every namespace" in text(operator, "/audit/")
    operator.cookies["django_language"] = "ja"
    page = text(operator, "/audit/")
    assert "QA：全ネームスペースのスキャン" in page
    assert "qa scan" not in page
