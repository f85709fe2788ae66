"""A scan explains keys that expired by a Worker, and no others."""

from datetime import timedelta

import pytest

from backups.models import WorkerKey, WorkerReport, WorkerRound
from kvops import clock
from tests import make
from tests.audit.make import triggers_off
from tests.backups.worker_expiry import helpers
from tests.backups.worker_expiry.helpers import SignedWorker
from tests.kvops.inventory.test_unexplained import found, scan, vanish

pytestmark = pytest.mark.django_db
NAMES = ("mastercache:1", "mastercache:2", "mastercache:3")


@pytest.fixture
def worker(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> SignedWorker:
    """A Worker that asked, after a scan that saw its keys without an expiration."""
    for name in NAMES:
        estate.put(estate.qa, name)
    scan(estate)
    mine = helpers.worker(estate.qa, people, monkeypatch)
    assert mine.ask() == "yes"
    return mine


def wrote(worker: SignedWorker, names: dict[str, timedelta]) -> None:
    """A report of keys whose expirations passed, or will pass, by these times from now."""
    now = clock.now()
    started = WorkerRound.objects.get(token=worker.round).started_at
    report = WorkerReport.objects.create(
        round=worker.kept, part=0, given=len(names), failed=0, sha256="0" * 64, received_at=started
    )
    for name, left in names.items():
        WorkerKey.objects.create(report=report, name=name, certain=True, expires_at=now + left)


def ended(worker: SignedWorker) -> None:
    """The round is over, so that nothing waits for it."""
    worker.part = 1
    assert worker.end(0).status_code == 200
    worker.followed()


def test_a_key_that_expired_by_a_worker_is_explained(worker: SignedWorker, estate: make.Estate) -> None:
    wrote(worker, {"mastercache:1": timedelta(seconds=-1), "mastercache:2": timedelta(hours=1)})
    ended(worker)
    vanish(estate, *NAMES)
    assert found(scan(estate)) == ["mastercache:2", "mastercache:3"]


def test_a_key_that_expired_before_its_last_listing_is_not(worker: SignedWorker, estate: make.Estate) -> None:
    wrote(worker, {"mastercache:1": timedelta(days=-1)})
    ended(worker)
    vanish(estate, "mastercache:1")
    assert found(scan(estate)) == ["mastercache:1"]


def test_a_report_explains_no_key_of_another_family(worker: SignedWorker, estate: make.Estate) -> None:
    assert worker.tell(["settings:1", "mastercache:1"]).status_code == 200
    assert worker.followed().state == "failed"
    estate.put(estate.qa, "settings:1")
    scan(estate)
    with triggers_off("backups_workerkey"):
        WorkerKey.objects.update(expires_at=clock.now())
    vanish(estate, "settings:1", "mastercache:1")
    assert found(scan(estate)) == ["settings:1"]
