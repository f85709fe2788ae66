"""The last scan of each day, for the trends."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from kvops.models import Namespace, Run, Scan
from tests import make
from tests.plans import plan_of

pytestmark = pytest.mark.django_db


def scan(namespace: Namespace, at: datetime | None) -> Scan:
    with make.past_the_triggers():
        run = Run.objects.create(
            kind="scan", subject=f"x:{Run.objects.count()}", label="x", state="succeeded", finished_at=timezone.now()
        )
        return Scan.objects.create(namespace=namespace, run=run, completed_at=at)


def noon(days: int) -> datetime:
    return timezone.localtime().replace(hour=12, minute=0) - timedelta(days=days)


def test_the_last_scan_of_each_day_and_namespace_is_found(estate: make.Estate) -> None:
    scan(estate.qa, noon(3) - timedelta(hours=1))
    last = [scan(estate.qa, noon(3)), scan(estate.production, noon(3)), scan(estate.qa, noon(1))]
    scan(estate.qa, None)
    scan(estate.qa, noon(9))
    assert set(Scan.objects.last_of_each_day(noon(3).date())) == set(last)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_day_is_one_of_the_current_zone(estate: make.Estate, zone: str) -> None:
    with timezone.override(zone):
        midnight = noon(2).replace(hour=0)
        before, after = scan(estate.qa, midnight - timedelta(minutes=1)), scan(estate.qa, midnight)
        assert set(Scan.objects.last_of_each_day(midnight.date() - timedelta(days=1))) == {before, after}
        assert set(Scan.objects.last_of_each_day(midnight.date())) == {after}


def test_an_index_finds_the_last_scans_among_many(estate: make.Estate) -> None:
    with make.past_the_triggers():
        runs = Run.objects.bulk_create(
            Run(kind="scan", subject="namespace:1", label="x", state="succeeded", finished_at=noon(1))
            for _number in range(3_000)
        )
        Scan.objects.bulk_create(
            Scan(namespace=estate.qa, run=run, completed_at=noon(1) - timedelta(minutes=run.pk)) for run in runs
        )
    plan = plan_of(Scan.objects.last_of_each_day(noon(3).date()), Scan)
    assert "scan_newest" in plan
    assert "Seq Scan on kvops_scan" not in plan
