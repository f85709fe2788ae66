"""How a backup is erased: only in the bucket that it is in, and only as far as the approval goes."""

import pytest

from backups.bucket import access as bucket_access
from backups.models import Generation, PruneRequest
from backups.retention import erasure
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


def test_a_backup_whose_environment_moved_to_another_bucket_is_not_called_deleted(
    estate: make.Estate, people: make.People
) -> None:
    old, prune = begun(estate, people)
    before = len(estate.s3.calls("DELETE"))
    Environment.objects.filter(slug="qa").update(r2_bucket="another")
    run = resumed(prune, people)
    assert (run.state, Generation.objects.get(pk=old.pk).status) == ("failed", "deleting")
    assert len(estate.s3.calls("DELETE")) == before
    assert set(old.every_object()) <= set(estate.s3.objects)


def test_an_object_that_is_no_proposal_is_not_erased_as_one(estate: make.Estate) -> None:
    with bucket_access.store(estate.qa.environment) as store, pytest.raises(RunError, match="no proposal"):
        erasure.erase_proposal_permanently(store, None, "qa/proposals/x.json")  # type: ignore[arg-type]
    assert estate.s3.calls("DELETE") == []


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("kvops-probe-0123456789abcdef", "kvops-probe-0123456789abcdef/x"), ("qa", "qa/x"), ("", "/x")],
)
def test_the_objects_of_a_probe_are_erased_in_no_bucket_of_an_environment(
    estate: make.Estate, prefix: str, key: str
) -> None:
    with bucket_access.store(estate.qa.environment) as store, pytest.raises(RunError, match="not one of a probe"):
        erasure.erase_probe_permanently(store, prefix, key)
    assert estate.s3.calls("DELETE") == []
