"""Each worker has heartbeats of its own: the ill host is named, and one that was taken away is forgotten."""

import sys
from datetime import timedelta

import psutil
import pytest
from django.db import transaction
from django.db.models.functions import Now
from django_q.models import OrmQ

from audit import log
from kvops import queue, tasks, timing
from kvops.models import Heartbeat, Run
from kvops.runs import driver as run_driver
from kvops.supervision import heartbeats, sweep, work
from tests import make
from tests.clusters import until

pytestmark = pytest.mark.django_db


def on(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(queue.CLUSTER_OF, f"{host}:7")


def lives(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A worker on the host that executes tasks."""
    on(monkeypatch, host)
    heartbeats.beat_worker()
    tasks.came_back(None)


def ago(host: str, seconds: float, *processes: str) -> None:
    for process in processes or ("worker", "canary"):
        rows = Heartbeat.objects.of(process).filter(worker__startswith=f"{host}:")
        rows.update(at=Now() - timedelta(seconds=seconds))


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeats.beat("sweep")
    lives(monkeypatch, "left")
    lives(monkeypatch, "right")


@pytest.mark.usefixtures("two")
def test_the_host_that_is_ill_is_named_although_the_other_answers() -> None:
    assert work.missing() == []
    ago("left", timing.CANARY_LATE + 1, "worker")
    assert work.missing() == [f"The worker on left was last seen {timing.CANARY_LATE + 1:.0f} s ago."]


def run_of(owner: str, left: float) -> Run:
    """A run whose lease ends in so many seconds; without an owner it waits."""
    with log.transaction():
        run = run_driver.create(Run.Kind.VERIFY, subject=f"generation:{owner}", label="", actor=make.SETUP)
    lease = Now() + timedelta(seconds=left) if owner else None
    Run.objects.filter(pk=run.pk).update(state="running", owner=owner, lease_until=lease)
    run.refresh_from_db()
    return run


@pytest.mark.usefixtures("two")
def test_a_run_waits_for_an_ill_worker_only_if_that_one_has_it_or_none_works() -> None:
    waiting, theirs, renewed = run_of("", 0), run_of("left:8", -60), run_of("left:9", timing.LEASE)
    ago("left", timing.CANARY_LATE + 1, "worker")
    assert (work.of_run(waiting), work.of_run(renewed), work.of_all_runs()) == ("", "", "")
    begins = "The worker on left does not execute tasks. Another worker takes this run over after "
    assert work.of_run(theirs).startswith(begins)
    ago("right", timing.CANARY_LATE + timing.PART + 1, "canary")
    both = "The worker on left does not execute tasks. The worker on right does not execute tasks."
    assert sorted(work.of_run(waiting).split(". ")[:2]) == sorted(both.rstrip(".").split(". "))
    assert work.of_run(waiting) == work.of_run(theirs)
    assert work.of_run(waiting).endswith("This run goes on when a worker is back; nothing is lost.")
    assert work.of_all_runs().endswith("Runs that wait go on when a worker is back; nothing is lost.")


@pytest.mark.usefixtures("two")
def test_a_host_that_was_stopped_in_order_is_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "left")
    heartbeats.leave()
    assert not Heartbeat.objects.filter(worker="left:7").exists()
    assert work.missing() == []


@pytest.mark.usefixtures("two")
def test_a_host_that_was_taken_away_is_forgotten_while_the_other_works() -> None:
    ago("left", timing.TAKEN_AWAY + 1)
    assert heartbeats.forget() == ["left"]
    assert work.missing() == []
    ago("right", timing.TAKEN_AWAY + 1)
    assert heartbeats.forget() == []


@pytest.mark.usefixtures("two")
def test_a_host_is_not_forgotten_while_the_other_beats_and_executes_nothing() -> None:
    ago("left", timing.TAKEN_AWAY + 1)
    ago("right", timing.CANARY_LATE + timing.PART + 1, "canary")
    assert heartbeats.forget() == []
    assert len(work.workers()[0]) == 2


@pytest.mark.usefixtures("two")
def test_an_outage_stays_told_while_another_host_is_ill(monkeypatch: pytest.MonkeyPatch) -> None:
    lives(monkeypatch, "middle")
    heartbeats.beat(heartbeats.TOLD)
    ago("left", timing.TAKEN_AWAY + 1)
    ago("middle", timing.CANARY_LATE + 1, "worker")
    assert heartbeats.forget() == ["left"]
    assert heartbeats.age(heartbeats.TOLD) is not None
    ago("middle", timing.TAKEN_AWAY + 1)
    assert heartbeats.forget() == ["middle"]
    assert heartbeats.age(heartbeats.TOLD) is None


def test_the_last_worker_is_remembered_when_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeats.beat("sweep")
    lives(monkeypatch, "left")
    heartbeats.leave()
    Heartbeat.objects.of("worker").update(at=Now() - timedelta(seconds=timing.CANARY_LATE + 1))
    assert work.missing() == [f"The worker was last seen {timing.CANARY_LATE + 1:.0f} s ago."]
    lives(monkeypatch, "right")
    assert work.missing() == []


def test_a_worker_that_comes_back_is_believed_only_when_its_cluster_executed_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heartbeats.beat("sweep")
    lives(monkeypatch, "left")
    ago("left", timing.CANARY_LATE + 1)
    heartbeats.beat_worker()
    assert work.missing() == [f"An executed task on left was last seen {timing.CANARY_LATE + 1:.0f} s ago."]
    tasks.came_back(None)
    assert work.missing() == []


def test_a_killed_worker_that_nobody_buried_yet_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeats.beat("sweep")
    killed = psutil.Popen([sys.executable, "-c", ""])
    until("it ended", lambda: killed.status() == psutil.STATUS_ZOMBIE)
    monkeypatch.setenv(queue.CLUSTER_OF, f"left:{killed.pid}")
    heartbeats.beat_worker()
    tasks.came_back(None)
    Heartbeat.objects.of("worker").update(within=timedelta(0))
    assert "The worker on left" in str(work.missing())
    lives(monkeypatch, "left")
    assert work.missing() == []
    killed.wait()


def test_a_cluster_takes_its_own_canary_and_never_that_of_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "left")
    with transaction.atomic():
        queue.send_canary()
    [waiting] = OrmQ.objects.all()
    OrmQ.objects.update(lock=Now() - timedelta(seconds=1))
    on(monkeypatch, "right")
    assert queue.Broker().dequeue() is None
    on(monkeypatch, "left")
    assert [pk for pk, _payload in queue.Broker().dequeue() or []] == [waiting.pk]


@pytest.mark.usefixtures("two")
def test_the_sweep_forgets_in_its_rounds() -> None:
    ago("left", timing.TAKEN_AWAY + 1)
    sweep.sweep_once()
    assert not Heartbeat.objects.filter(worker="left:7").exists()
