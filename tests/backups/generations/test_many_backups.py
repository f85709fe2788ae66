"""A hundred thousand backups: pages about those that exist do not read those that were deleted."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backups.generations import coverage as family_coverage
from backups.generations.forms import GenerationFilter
from backups.models import Generation
from backups.models.generations import GenerationQuerySet
from kvops.models import Family, Run
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.plans import plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def deleted(estate: make.Estate) -> None:
    """Three thousand backups that were deleted, and one that exists."""
    now = timezone.now()
    with make.past_the_triggers():
        runs = Run.objects.bulk_create(
            Run(kind="backup", subject="x", label="x", state="succeeded", finished_at=now) for _number in range(3_000)
        )
        made = Generation.objects.bulk_create(
            Generation(
                environment=estate.qa.environment, namespace=estate.qa, prefixes=["master:"], category="legacy",
                run=run, bucket="b", stem=f"{run.pk}", started_at=now, retain_until=now + timedelta(days=20),
                finished_at=now, status="deleted", deleted_at=now, manifest_sha256="x", digest_root="x",
            )
            for run in runs
        )  # fmt: skip
    assert len(made) == 3_000
    backup_of_age(estate.qa, 1)


@pytest.mark.parametrize(
    "found",
    [
        lambda: Generation.objects.there().order_by("pk"),
        Generation.objects.verified,
        lambda: GenerationFilter(QueryDict("status=damaged")).generations()[:51],
    ],
)
def test_the_backups_that_exist_are_found_by_an_index(deleted: None, found: Callable[[], GenerationQuerySet]) -> None:
    plan = plan_of(found(), Generation)
    assert "generation_there" in plan or "generation_by_status" in plan
    assert "Seq Scan on backups_generation" not in plan


def test_deleted_backups_are_read_only_for_a_family_with_a_short_history(estate: make.Estate) -> None:
    make.change_families("master:", interval_hours=24, grace_hours=12)
    backup_of_age(estate.qa, 3, status="damaged")
    backup_of_age(estate.qa, 1)
    backup_of_age(estate.production, 1)
    assert _queries() == _queries_without_history() + 1


def _queries() -> int:
    with CaptureQueriesContext(connection) as asked:
        family_coverage.of_all()
    return len(asked)


def _queries_without_history() -> int:
    Family.objects.update(interval_hours=0, grace_hours=0)
    return _queries()
