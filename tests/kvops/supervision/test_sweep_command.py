"""`manage.py sweep`: what one round does, and the rounds after the database was away."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import InternalError, OperationalError
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ, Task

from audit import log
from audit.actions import Action
from audit.models import Entry
from kvops import queue, timing
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.management.commands import sweep as sweep_command
from kvops.models import ApprovalRequest, Heartbeat, Run
from kvops.runs import lease as run_lease, sweeping as run_sweeping
from kvops.supervision import heartbeats, sweep as sweeping
from tests import make

pytestmark = pytest.mark.django_db


def sweep() -> str:
    out = StringIO()
    call_command("sweep", "--once", stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def looked(db: None) -> None:
    """The buckets were looked into a moment ago: that has a test of its own."""
    heartbeats.beat("looked")


@pytest.fixture
def run(estate: make.Estate) -> Run:
    """A scan whose wake-up task got lost."""
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    OrmQ.objects.all().delete()
    Run.objects.update(task_sent_at=Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK + 1))
    return run


def test_a_run_that_is_due_is_rung(run: Run) -> None:
    assert sweep() == "woke 1 run\n"
    assert queue.length() == 1


def test_every_bucket_is_looked_into_when_that_is_due(estate: make.Estate) -> None:
    Heartbeat.objects.update(at=Now() - timedelta(seconds=timing.LOOK + 1))
    sweep()
    sweep()
    assert [row.func() for row in OrmQ.objects.all()] == ["kvops.tasks.look_into_bucket"] * 2


def test_a_run_that_was_just_rung_is_left_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep()
    monkeypatch.setattr(timing, "STALE_WAKE_UP_TASK", 60.0)  # as in production: a slow machine wakes nothing
    assert sweep() == ""
    assert queue.length() == 1


def test_a_run_whose_owner_is_gone_is_finished_by_another(run: Run) -> None:
    run_lease.take(run.pk)
    Run.objects.update(lease_until=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT + 1))
    sweep()
    make.work()
    run.refresh_from_db()
    assert (run.state, run.epoch) == ("succeeded", 2)
    assert Entry.objects.filter(subject=f"run:{run.pk}", action=Action.RUN_TAKEN_OVER).exists()


def test_the_next_round_is_when_the_lease_and_one_request_of_a_lost_run_are_over(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SWEEP", 5.0)
    run_lease.take(run.pk)
    for over_in, pause in ((60, 5.0), (2, 2.0), (-2, 5.0)):  # a lease that is over already waits for nothing
        Run.objects.update(lease_until=Now() + timedelta(seconds=over_in - timing.REQUEST_TIMEOUT))
        assert run_sweeping.seconds_to_next() == pytest.approx(pause, abs=0.3)


@pytest.mark.usefixtures("_signals")
def test_the_sweep_sleeps_until_its_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float | None] = []

    class OneRound(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            slept.append(timeout)
            self.set()
            return True

    monkeypatch.setattr(sweep_command, "threading", SimpleNamespace(Event=OneRound))
    monkeypatch.setattr(sweep_command, "close_old_connections", lambda: None)  # that of the test's transaction
    monkeypatch.setattr(run_sweeping, "seconds_to_next", lambda: 1.25)
    call_command("sweep")
    assert slept == [1.25]


def test_a_command_that_is_gone_blocks_nothing(estate: make.Estate) -> None:
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP, foreground=True).run
    run_lease.take(run.pk, foreground=True)
    Run.objects.update(lease_until=Now() - timedelta(seconds=timing.REQUEST_TIMEOUT + 1))
    sweep()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "abandoned")


def test_a_request_nobody_decided_in_time_is_closed(people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "DECIDE_WITHIN", 0.0001)
    with log.transaction():
        request = approval_gate.submit(
            ApprovalRequest.Kind.DELETE_KEYS, subject="stage:1", title="x", evidence={}, requester=people.operator
        )
    sweep()
    request.refresh_from_db()
    assert request.state == ApprovalRequest.State.EXPIRED


def test_a_queue_that_nobody_empties_stops_growing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FULL", 0)
    assert sweep() == ""
    assert queue.length() == 0


def task(name: str, **ago: float) -> None:
    """What django-q2 notes about a task that ended so long ago."""
    at = timezone.now() - timedelta(**ago)
    Task.objects.create(id=name, name=name, func="kvops.tasks.step", started=at, stopped=at)


def test_what_the_queue_noted_about_tasks_is_deleted_after_a_day() -> None:
    task("yesterday", hours=25)
    task("today", hours=23)
    sweep()
    assert list(Task.objects.values_list("name", flat=True)) == ["today"]


def test_much_of_it_is_deleted_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "BATCH", 2)
    for number in range(3):
        task(str(number), days=2)
    sweep()
    assert Task.objects.count() == 1
    sweep()
    assert Task.objects.count() == 0


def test_it_is_looked_for_once_an_hour() -> None:
    sweep()
    task("yesterday", hours=25)
    sweep()
    assert Task.objects.count() == 1
    Heartbeat.objects.filter(name="tidied").update(at=Now() - timedelta(hours=1))
    sweep()
    assert Task.objects.count() == 0


def test_a_sweep_is_seen() -> None:
    sweep()
    assert 0 <= (heartbeats.age("sweep") or -1) < 10


# The database is away


@pytest.fixture
def _signals() -> Iterator[None]:
    """What the command does to the signals of the process ends with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_one_round_without_a_database_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "beat", away)
    with pytest.raises(OperationalError):
        sweep()


def away(*_: object) -> None:
    raise OperationalError("the connection is closed")


def ended(*_: object) -> None:
    raise InternalError("terminating connection due to idle-in-transaction timeout")


def be_stopped() -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    return 7


@pytest.mark.usefixtures("_signals")
def test_a_sweep_goes_on_when_the_database_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds: list[Callable[[], int | None]] = [be_stopped, ended, away]

    def next_round() -> int | None:
        return rounds.pop()()

    monkeypatch.setattr(sweeping, "sweep_once", next_round)
    monkeypatch.setattr(timing, "SWEEP", 0.0)
    caplog.set_level("INFO")
    call_command("sweep")
    assert "trying again: the connection is closed" in caplog.text
    assert "trying again: terminating connection" in caplog.text
    assert "Woke 7 runs." in caplog.text
