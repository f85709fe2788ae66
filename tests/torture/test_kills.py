"""What deletes is killed while it does. `make torture ROW=kills` kills during the whole main job, Postgres too."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from audit import verify
from audit.models import Entry
from backups.cleanup import requests as cleanup_requests
from backups.models import CleanupStage
from tests import clusters, judge
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.torture import joined
from tests.torture.installation import Machine
from tests.torture.lanes import SCALE
from tests.torture.trial_estate import EstateTrial, JournalledBucket, main_job


@pytest.fixture
def trial(transactional_db: None) -> Iterator[EstateTrial]:
    """Three keys in QA whose deletion is approved."""
    with FakeCloudflare() as cloudflare, JournalledBucket() as bucket:
        made = main_job(cloudflare, bucket, Random(1), 0, {"qa": 3, "production": 0})
        cleanup_helpers.scan(made.estate.qa, made.estate.production)
        cleanup_requests.start_deletion(
            cleanup_helpers.approved(cleanup_helpers.asked(made.people), made.people), by=made.people.operator
        )
        yield made


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The product's processes, their durations scaled like those of all torture."""
    monkeypatch.setenv("DATABASE_URL", clusters.database_url())
    monkeypatch.setenv("KVOPS_TIME_SCALE", str(SCALE))
    made = Machine(tmp_path, people=False)
    yield made
    made.end()
    print(made.said())


@pytest.mark.hazard("B30", "B33")
def test_a_deletion_ends_well_although_its_cluster_is_killed(trial: EstateTrial, machine: Machine) -> None:
    stage = CleanupStage.objects.filter(environment__slug="qa")
    begun = Entry.objects.count()
    found = machine.torment(Random(37), [begun + 1], stage.filter(state="confirmed").exists)
    assert (found["cluster"], stage.get().state) == (1, "confirmed")
    assert judge.problems(trial.cloudflare.journal, judge.approved_sets(trial.bucket.objects)) == []
    assert (joined.unmatched(joined.pairs(trial)), joined.unsettled()) == (0, 0)
    assert verify.verify().problems == ()
