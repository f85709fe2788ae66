"""The charts of the pages: keys by category, and operations sent to Cloudflare, each with its table."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from kvops.models import DailyUse, Environment, Namespace, Run, Scan, ScanCount
from kvops.web.ranges import Period, carried
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 30)
DAY = timedelta(days=1)


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


def series(found: list[Any], day: date) -> dict[str, int]:
    return {str(one.title): one.by_day[day] for one in found if day in one.by_day}


def scanned(namespace: Namespace, days_ago: int, **counts: int) -> None:
    ended = {"state": "succeeded", "finished_at": timezone.now(), "environment": namespace.environment}
    run = Run.objects.create(kind="scan", subject="x", label="x", actor="x", **ended)
    scan = Scan.objects.create(namespace=namespace, run=run, completed_at=timezone.now() - days_ago * DAY)
    for category, keys in counts.items():
        ScanCount.objects.create(scan=scan, category=category, pattern=category, keys=keys)


def test_a_day_without_a_number_has_that_of_the_day_before() -> None:
    found = carried(Period(30, TODAY), {TODAY - 40 * DAY: 7, TODAY - DAY: 9})
    assert (found[TODAY - 29 * DAY], found[TODAY - 2 * DAY], found[TODAY - DAY], found[TODAY]) == (7, 7, 9, 9)
    assert list(carried(Period(30, TODAY), {TODAY: 1})) == [TODAY]


def test_the_keys_of_each_category_stand_by_day(estate: make.Estate, auditor: Client) -> None:
    scanned(estate.qa, 60, cache=5, settings=2)
    scanned(estate.qa, 10, cache=3)
    scanned(estate.production, 3, cache=1)
    answer = auditor.get("/keys/?days=30")
    qa, production = answer.context["charts"]
    today = timezone.localdate()
    assert series(qa.series, today - 11 * DAY) == {"settings": 2, "cache": 5}
    assert series(qa.series, today) == {"settings": 0, "cache": 3}
    assert series(production.series, today - 4 * DAY) == {}
    assert [one.title for one in production.series] == [one.title for one in qa.series]
    assert answer.text.count('<svg class="chart ') == answer.text.count("As a table") == 2


def test_the_operations_of_each_account_stand_by_day(estate: make.Estate, auditor: Client) -> None:
    account, today = Environment.objects.get(slug="qa").account_id, timezone.localdate()
    DailyUse.objects.create(account=account, day=today - DAY, reads=7, lists=2)
    DailyUse.objects.create(account="of nobody", day=today, reads=1)
    answer = auditor.get("/environments/?days=30")
    found = next(one for one in answer.context["accounts"] if one.account == account)
    assert series(found.series, today - DAY) == {"reads": 7, "writes": 0, "deletes": 0, "lists": 2}
    assert "of nobody" not in answer.text


@pytest.mark.parametrize("page", ["/keys/", "/environments/"])
def test_a_period_that_is_not_offered_is_named(estate: make.Estate, auditor: Client, page: str) -> None:
    answer = auditor.get(f"{page}?days=7")
    assert answer.status_code == 200
    assert "There is no such period." in answer.text
    assert '<svg class="chart ' not in answer.text
