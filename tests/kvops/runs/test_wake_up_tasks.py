"""A task in the queue is only a wake-up signal: the run decides the work, however its tasks look."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
from django.conf import settings
from django.core import signing
from django.utils import timezone
from django_q import pusher, worker
from django_q.brokers.orm import ORM
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from audit.models import Entry
from kvops.inventory import scan as inventory_scan
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.clusters import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.hazard("B29")]

executed: list[int] = []


def never(number: int) -> None:
    """What a forged row would have executed."""
    executed.append(number)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """One round of django-q2's own pusher and worker over everything in its table."""
    monkeypatch.setattr(pusher, "setproctitle", None)
    monkeypatch.setattr(worker, "setproctitle", None)

    def round_() -> None:
        tasks: SimpleQueue[Any] = SimpleQueue()
        over = Event()
        over.set()
        while OrmQ.objects.filter(lock__lt=timezone.now()).exists():
            pusher.pusher(tasks, over, ORM(list_key="kvops"))
        tasks.put("STOP")
        worker.worker(tasks, SimpleQueue(), multiprocessing.Value("f", -1.0))

    return round_


def finished_scan(estate: make.Estate) -> tuple[Run, str]:
    """A scan that is over, and the row that rang for it."""
    estate.put(estate.qa, "master:1")
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    payload = OrmQ.objects.get().payload
    make.work()
    run.refresh_from_db()
    assert run.state == "succeeded"
    return run, payload


def run_task(payload: str) -> None:
    OrmQ.objects.create(key="kvops", payload=payload, lock=timezone.now())


def seen(estate: make.Estate, run: Run) -> tuple[object, ...]:
    """All that a second execution would change."""
    run.refresh_from_db()
    return (run.state, run.epoch, run.starts, run.result, len(estate.cloudflare.journal), Entry.objects.count())


def test_a_task_that_is_submitted_again_does_nothing(estate: make.Estate, cluster: Callable[[], None]) -> None:
    run, payload = finished_scan(estate)
    before = seen(estate, run)
    task = SignedPackage.loads(payload)
    # As the queue's own "resubmit" does it.
    async_task(task["func"], *task["args"], **task["kwargs"])
    cluster()
    assert seen(estate, run) == before


def test_an_old_row_that_is_restored_does_nothing(estate: make.Estate, cluster: Callable[[], None]) -> None:
    run, payload = finished_scan(estate)
    before = seen(estate, run)
    for _ in range(3):
        run_task(payload)
    cluster()
    assert seen(estate, run) == before


def test_an_old_row_does_not_let_a_deletion_go_on_that_waits_for_a_person(
    estate: make.Estate, people: make.People, cluster: Callable[[], None]
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    payload = OrmQ.objects.get().payload
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    before = seen(estate, run)
    run_task(payload)
    cluster()
    assert (seen(estate, run), run.state) == (before, "stopped")
    assert cleanup_helpers.journal(estate) == {}


def test_an_old_row_does_not_shorten_a_wait(estate: make.Estate, cluster: Callable[[], None]) -> None:
    estate.cloudflare.fault("keys", "429", seconds=600)
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    payload = OrmQ.objects.get().payload
    cluster()
    before = seen(estate, run)
    run_task(payload)
    cluster()
    assert seen(estate, run) == before
    assert run.wake_at is not None


@pytest.mark.parametrize("forge", ["not signed", "another key"])
def test_a_row_that_nobody_signed_is_thrown_away(forge: str, cluster: Callable[[], None]) -> None:
    task = {
        "id": "1" * 32,
        "name": "forged",
        "func": "tests.kvops.runs.test_wake_up_tasks.never",
        "args": (1,),
        "kwargs": {},
    }
    signed = SignedPackage.dumps(task)
    run_task(signing.dumps(task, key="x" * 50) if forge == "another key" else signed.rpartition(":")[0])
    cluster()
    assert (executed, OrmQ.objects.count()) == ([], 0)


def test_a_signed_row_would_have_been_executed(cluster: Callable[[], None]) -> None:
    task = {
        "id": "1" * 32,
        "name": "signed",
        "func": "tests.kvops.runs.test_wake_up_tasks.never",
        "args": (1,),
        "kwargs": {},
    }
    run_task(SignedPackage.dumps(task))
    cluster()
    assert executed == [1]
    executed.clear()


@pytest.mark.hazard("B30")
def test_work_that_kills_its_worker_is_given_up_after_five_starts(estate: make.Estate) -> None:
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    workers = subprocess.run(
        [sys.executable, "-m", "tests.kvops.runs.poisoned", str(run.pk)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": database_url()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    run.refresh_from_db()
    killed = [-signal.SIGKILL] * run_driver.MAX_STARTS
    assert list(map(int, workers.stdout.split())) == [*killed, 0, 0, 0]
    assert (run.state, run.error_code, estate.cloudflare.journal) == ("failed", "gave_up", [])
