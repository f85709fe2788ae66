"""A million runs: those of a filter, and the failed ones of a week, are found by an index."""

import pytest
from django.db.models.functions import Now
from django.http import QueryDict

from kvops.models import Run
from kvops.runs.forms import RunFilter
from tests import make
from tests.plans import plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def many(db: None) -> None:
    """Five thousand scans, all of which succeeded."""
    with make.past_the_triggers():
        Run.objects.bulk_create(
            Run(kind="scan", subject="namespace:1", label="x", actor="x", state="succeeded", finished_at=Now())
            for _number in range(5_000)
        )


@pytest.mark.parametrize(
    ("query", "index"),
    [("kind=drill", "run_by_kind"), ("state=stopped", "run_by_state"), ("state=running", "run_by_state")],
)
def test_the_rare_runs_of_a_filter_are_found_by_an_index(many: None, query: str, index: str) -> None:
    plan = plan_of(RunFilter(QueryDict(query)).runs()[:51], Run)
    assert index in plan
    assert "Seq Scan on kvops_run" not in plan


def test_the_failed_runs_of_a_week_are_found_by_an_index(many: None) -> None:
    plan = plan_of(Run.objects.unattended(), Run)
    assert "run_failed_lately" in plan or "run_by_state" in plan
    assert "Seq Scan on kvops_run" not in plan
