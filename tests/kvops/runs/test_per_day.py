"""The runs of each day, from totals of the past and the runs since: equal to a count of all of them."""

from collections import Counter
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from kvops.models import Person, Run, RunningTotal
from kvops.runs import per_day
from kvops.web.ranges import Period
from tests import make
from tests.plans import plan_of

pytestmark = pytest.mark.django_db
ZONES = ["Asia/Tokyo", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"]
"""Offsets of whole hours, three quarters, half hours, and twelve and three quarters."""
SUMMED = Now() - timedelta(hours=2)


def run_at(at: datetime, person: Person | None = None) -> Run:
    ended = {"state": "succeeded", "finished_at": at}
    return Run.objects.create(kind="look", subject=str(at), label="x", created_at=at, started_by=person, **ended)


@pytest.fixture
def year(people: make.People) -> None:
    """Runs of each hour and ten minutes of four days, those of a person between, and some of last year."""
    now = timezone.now()
    for number in range(80):
        run_at(now - timedelta(minutes=70 * number), people.operator if number % 3 == 0 else None)
    run_at(now - timedelta(days=340))
    run_at(now - timedelta(days=400))


def told(zone: str, days: int = 365) -> list[dict[date, int]]:
    with timezone.override(zone):
        return [dict(series.by_day) for series in per_day.by_day(Period(days, timezone.localdate()))]


def counted(zone: str, days: int = 365) -> list[dict[date, int]]:
    first = timezone.localdate(timezone=ZoneInfo(zone)) - timedelta(days=days - 1)
    found: list[Counter[date]] = [Counter(), Counter()]
    for at, person in Run.objects.values_list("created_at", "started_by"):
        if (day := at.astimezone(ZoneInfo(zone)).date()) >= first:
            found[person is None][day] += 1
    return [dict(one) for one in found]


@pytest.mark.usefixtures("year")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("days", [30, 365])
def test_the_totals_tell_each_day_of_every_reader_as_the_runs_do(zone: str, days: int) -> None:
    before = told(zone, days)
    per_day.sum_up()
    assert RunningTotal.objects.count() > 70
    assert before == told(zone, days) == counted(zone, days)


@pytest.mark.usefixtures("year")
def test_what_is_summed_up_is_not_counted_again() -> None:
    expected = counted("UTC")
    per_day.sum_up()
    with make.past_the_triggers():
        Run.objects.filter(created_at__lt=SUMMED).delete()
    assert told("UTC") == expected


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_ends_before_the_first_moment_of_the_next(zone: str) -> None:
    day = timezone.localdate(timezone=ZoneInfo(zone)) - timedelta(days=2)
    midnight = datetime.combine(day, time.min, ZoneInfo(zone))
    run_at(midnight - timedelta(seconds=1))
    run_at(midnight)
    per_day.sum_up()
    assert told(zone) == [{}, {day - timedelta(days=1): 1, day: 1}]


@pytest.mark.usefixtures("year")
def test_a_run_of_the_last_hour_is_summed_up_later() -> None:
    per_day.sum_up()
    run_at(timezone.now() - timedelta(minutes=50))
    assert told("UTC") == counted("UTC")
    assert per_day.TOTALS.at(per_day.SERIES, [timezone.now()])[1] <= timezone.now() - timedelta(hours=1)


@pytest.mark.usefixtures("year")
def test_the_totals_are_made_anew() -> None:
    """Runs of the past that a restored database lacks, or has again, are told from the next day on."""
    per_day.sum_up()
    RunningTotal.objects.create(series="of another chart", until=timezone.now(), total=1)
    with make.past_the_triggers():
        Run.objects.filter(started_by=None).delete()
    per_day.sum_up()
    assert told("UTC") == counted("UTC")
    assert RunningTotal.objects.filter(series="of another chart").exists()


def test_the_runs_since_are_found_by_an_index(db: None) -> None:
    with make.past_the_triggers():
        at = Now() - timedelta(days=100)
        runs = (Run(kind="look", subject=str(number), label="x", created_at=at) for number in range(5_000))
        Run.objects.bulk_create(runs)
    plan = plan_of(Run.objects.filter(created_at__gte=timezone.now()), Run)
    assert "run_by_creation" in plan
    assert "Seq Scan on kvops_run" not in plan
