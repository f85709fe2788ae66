"""A deletion on a free plan: it takes days, and never more than a day's quota."""

import pytest

from kvops import clock
from kvops.models import DailyUse, Environment, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers

pytestmark = pytest.mark.django_db

NAMES = tuple(f"master:a:{number:04}" for number in range(250))


def test_a_deletion_waits_before_the_chunk_that_would_exceed_the_quota(
    estate: make.Estate, people: make.People
) -> None:
    Environment.objects.filter(slug="qa").update(plan=Environment.Plan.FREE)
    cleanup_helpers.estate_with_masters(estate, NAMES)
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    DailyUse.objects.update_or_create(account=make.ACCOUNTS["qa"], day=clock.now().date(), defaults={"deletes": 850})
    for _ in range(5):
        Run.objects.filter(pk=run.pk, note__startswith="Checked").update(wake_at=None)
        run_driver.drive(run.pk)
    run.refresh_from_db()
    assert (run.state, run.note, len(cleanup_helpers.journal(estate))) == (
        "running",
        run_driver.WAITS_FOR_TOMORROW,
        100,
    )
    assert DailyUse.objects.get(account=make.ACCOUNTS["qa"]).deletes == 950
    DailyUse.objects.all().delete()  # the next day
    make.work()
    assert (cleanup_helpers.stage_of(request).state, len(cleanup_helpers.journal(estate))) == ("confirmed", len(NAMES))
