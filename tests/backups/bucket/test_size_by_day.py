"""The size of the backups by day, from totals of the past and the backups since."""

from datetime import date, timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from backups.bucket import size_by_day
from backups.models import Generation
from kvops.models import Environment, RunningTotal
from kvops.web.ranges import Period
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def stored(estate: make.Estate, hours: float, size: int, gone: float | None = None, *, qa: bool = True) -> Generation:
    """A backup that finished so many hours ago, and was deleted so many hours ago."""
    made = backup_of_age(estate.qa if qa else estate.production, hours / 24)
    deleted = {} if gone is None else {"status": "deleted", "deleted_at": Now() - gone * HOUR}
    with make.past_the_triggers():
        Generation.objects.filter(pk=made.pk).update(bytes=size, finished_at=Now() - hours * HOUR, **deleted)
    return made


@pytest.fixture
def kept(estate: make.Estate) -> None:
    """Backups that came and went over more than a year; the last a moment ago."""
    stored(estate, 9_999, 5)
    stored(estate, 9_998, 70, gone=8_700)
    stored(estate, 9_997, 300, gone=100)
    stored(estate, 500, 2_000, gone=0.1)
    stored(estate, 40, 10_000)
    stored(estate, 0.2, 600_000)
    stored(estate, 600, 8, qa=False)


def told(zone: str = "UTC", days: int = 365) -> dict[str, dict[date, int]]:
    environments = list(Environment.objects.order_by("order"))
    with timezone.override(zone):
        period = Period(days, timezone.localdate())
        return {str(one.title): dict(one.by_day) for one in size_by_day.by_day(period, environments)}


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Kathmandu"])
@pytest.mark.parametrize("days", [30, 365])
def test_the_totals_tell_each_day_as_the_backups_do(zone: str, days: int) -> None:
    before = told(zone, days)
    size_by_day.sum_up()
    assert RunningTotal.objects.count() == 6
    assert told(zone, days) == before
    assert list(before["QA"].values())[-1] == 610_005
    assert before["QA"][timezone.localdate() - timedelta(days=6)] == 2_305


@pytest.mark.usefixtures("kept")
def test_what_is_summed_up_is_not_counted_again() -> None:
    expected = told()
    size_by_day.sum_up()
    with make.past_the_triggers():
        Generation.objects.filter(finished_at__lt=Now() - 30 * HOUR).exclude(bytes=2_000).update(bytes=0)
    assert told() == expected


@pytest.mark.usefixtures("kept")
def test_a_backup_whose_end_was_written_late_is_in_the_next_totals(estate: make.Estate) -> None:
    size_by_day.sum_up()
    stored(estate, 50, 1_000_000)
    size_by_day.sum_up()
    assert list(told()["QA"].values())[-1] == 1_610_005


def test_what_is_older_than_every_chart_is_one_total(estate: make.Estate) -> None:
    for days in range(400, 410):
        stored(estate, 24 * days, 3)
    size_by_day.sum_up()
    assert list(RunningTotal.objects.values_list("total", flat=True)) == [30]
