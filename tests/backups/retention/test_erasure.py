"""How a backup is erased: only in the bucket that it is in, and only as far as the approval goes."""

import pytest

from backups.bucket import access as bucket_access
from backups.models import Generation, PruneRequest
from backups.retention import erasure, run as prune_run
from kvops.models import Environment, Run
from kvops.runs import driver as run_driver
from kvops.runs.outcomes import RunError
from tests import make
from tests.backups.retention.requesting import expired, now, started

pytestmark = pytest.mark.django_db


def begun(estate: make.Estate, people: make.People) -> tuple[Generation, PruneRequest]:
    """A backup whose deletion began and failed before the first object was gone."""
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    estate.s3.fault("403", "DELETE")
    make.work()
    assert Generation.objects.get(pk=old.pk).status == "deleting"
    return old, now(prune)


def resumed(prune: PruneRequest, people: make.People) -> Run:
    assert prune.run is not None
    run_driver.resume(prune.run, actor=people.operator.actor)
    make.work()
    prune.run.refresh_from_db()
    return prune.run


def test_a_backup_is_not_called_deleted_while_its_objects_lie_in_the_bucket_of_before(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, prune = begun(estate, people)
    # The environment moves to an empty bucket right after the run has looked at its target.
    monkeypatch.setattr(prune_run, "_insist_target", lambda _prune, _lease: None)
    Environment.objects.filter(slug="qa").update(r2_bucket="another")
    estate.s3.bucket, estate.s3.objects = "another", {}
    run = resumed(prune, people)
    assert "another" in run.error
    assert Generation.objects.get(pk=old.pk).status == "deleting"


def test_an_object_that_is_no_proposal_is_not_erased_as_one(estate: make.Estate) -> None:
    with bucket_access.store(estate.qa.environment) as store, pytest.raises(RunError, match="no proposal"):
        erasure.erase_proposal_permanently(store, None, "qa/proposals/x.json")  # type: ignore[arg-type]
    assert estate.s3.calls("DELETE") == []
