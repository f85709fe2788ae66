"""The worker on real clusters, what is killed inside them, and how the supervisor judges."""

import runpy
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django_q.conf import Conf
from django_q.models import OrmQ
from pytest_django import Settings

from kvops import queue, tasks, timing
from kvops.inventory import scan as inventory_scan
from kvops.management.commands import worker as worker_command
from kvops.models import Heartbeat, Run
from kvops.runs import lease as run_lease
from kvops.supervision import cluster as worker_cluster, heartbeats, sweep, work
from tests import make
from tests.clusters import Worker, alive, until

STAND_IN = "import subprocess\nwhile True: subprocess.run(['sleep', '60'])"


@pytest.fixture
def worker(transactional_db: None, estate: make.Estate, tmp_path: Path) -> Iterator[Worker]:
    started = Worker(tmp_path / "worker.log")
    yield started
    started.end()


def scan(estate: make.Estate) -> Run:
    estate.put(estate.qa, "master:1")
    return inventory_scan.start_scan(estate.qa, actor=make.SETUP).run


def state(run: Run) -> str:
    run.refresh_from_db()
    return run.state


def looked_at() -> datetime:
    """When the supervisor looked at its cluster."""
    return Heartbeat.objects.of("worker").get().at


# Real clusters


def test_a_worker_that_is_stopped_finishes_its_step_and_leaves_no_process(worker: Worker, estate: make.Estate) -> None:
    estate.cloudflare.latency = 2.5
    run = scan(estate)
    until("the step is under way", lambda: state(run) == "running" and bool(worker.parts()))
    worker.process.terminate()
    assert worker.process.wait(timeout=50) == 0
    assert (state(run), worker.left()) == ("succeeded", [])


@pytest.mark.hazard("B30")
@pytest.mark.parametrize("victims", [("worker", "second worker"), ("monitor",), ("sentinel",)])
def test_a_cluster_works_again_after_some_of_its_processes_were_killed(
    worker: Worker, estate: make.Estate, victims: tuple[str, ...]
) -> None:
    parts = worker.idle()
    for victim in victims:
        parts[victim].kill()
    until("the old cluster is gone", lambda: not any(map(alive, parts.values())))
    run = scan(estate)
    until("the new cluster works", lambda: state(run) == "succeeded")


@pytest.mark.hazard("B30")
def test_a_cluster_whose_processes_are_alive_and_do_nothing_is_replaced(worker: Worker, estate: make.Estate) -> None:
    parts = worker.idle()
    for name in ("worker", "second worker"):
        parts[name].suspend()
    run = scan(estate)
    until("the new cluster works", lambda: state(run) == "succeeded")
    assert "executed nothing" in worker.output.read_text()


@pytest.mark.hazard("B30")
def test_a_worker_that_ended_to_be_recycled_is_no_trouble_and_the_new_one_is_watched(worker: Worker) -> None:
    parts = worker.idle()
    with transaction.atomic():
        for _ in range(2 * Conf.RECYCLE):
            queue.enqueue("kvops.tasks.look_into_bucket", 0)
    until("one has ended", lambda: not (alive(parts["worker"]) and alive(parts["second worker"])))
    until("all are done", lambda: not queue.length() and bool(worker.parts()))
    done = looked_at()
    until("it is looked at twice", lambda: looked_at() > done + timedelta(seconds=2 * timing.SWEEP))
    assert (alive(parts["sentinel"]), "restarted" in worker.output.read_text()) == (True, False)
    worker.parts()["second worker"].kill()
    until("it is noticed", lambda: "lost 1 of its processes" in worker.output.read_text())


def test_a_cluster_ends_when_its_supervisor_was_killed(worker: Worker) -> None:
    worker.idle()
    worker.process.kill()
    until("nothing is left", lambda: not worker.left())


def test_of_two_workers_one_that_is_suspended_is_named_its_run_is_taken_over_and_the_other_is_left_alone(
    transactional_db: None, estate: make.Estate, tmp_path: Path
) -> None:
    workers = {host: Worker(tmp_path / host, {queue.CLUSTER_OF: f"{host}:1"}) for host in ("left", "right")}
    try:
        until("both execute tasks", lambda: Heartbeat.objects.of("canary").count() == 2)
        estate.cloudflare.latency = 2.5
        run = scan(estate)
        until("it is under way", lambda: state(run) == "running" and bool(run.owner))
        holder = int(run.owner.rpartition(":")[2])
        mine = {host: one.process.children(recursive=True) for host, one in workers.items()}
        ill = next(host for host, parts in mine.items() if holder in {part.pid for part in parts})
        for process in (workers[ill].process, *mine[ill]):
            suspend(process)
        until("it is named", lambda: any(f"on {ill} was" in said for said in work.missing()))
        until("its run is taken over", lambda: state(run) == "succeeded" and run.epoch > 1)
        [well] = workers.keys() - {ill}
        assert not [said for said in work.missing() if f"on {well}" in said]
        assert "restarted" not in workers[well].output.read_text()
    finally:
        for one in workers.values():
            one.end()


# The judgement, with processes in place of a cluster that can do nothing but live and die


@pytest.fixture
def cluster(db: None, settings: Settings, tmp_path: Path) -> Iterator[worker_cluster.Cluster]:
    settings.BASE_DIR = tmp_path
    (tmp_path / "manage.py").write_text(STAND_IN)
    started = worker_cluster.Cluster()
    started.start()
    until("the stand-in has forked", lambda: bool(main(started).children()))
    yield started
    started.stop()


def main(cluster: worker_cluster.Cluster) -> psutil.Process:
    assert cluster._process is not None
    return psutil.Process(cluster._process.pid)


def sentinel(cluster: worker_cluster.Cluster) -> psutil.Process:
    return main(cluster).children()[0]


def suspend(process: psutil.Process) -> None:
    """Suspend it, and wait until it is: before, it may still fetch a child."""
    process.suspend()
    until("it is suspended", lambda: process.status() == psutil.STATUS_STOPPED)


def sent(*, seconds_ago: float) -> None:
    Heartbeat.objects.of("canary_sent").update(at=Now() - timedelta(seconds=seconds_ago))


def canaries() -> int:
    return sum(row.func() == queue.CANARY for row in OrmQ.objects.all())


def work_in(process: psutil.Process) -> None:
    """Let a run be worked on by the process."""
    host = run_lease.worker_name().rpartition(":")[0]
    lease = {"owner": f"{host}:{process.pid}", "lease_until": Now() + timedelta(seconds=60)}
    Run.objects.create(kind="scan", subject="x", label="x", actor="x", state="running", **lease)


def test_a_cluster_that_was_just_started_is_given_a_canary_and_time(cluster: worker_cluster.Cluster) -> None:
    assert cluster.trouble() == ""
    assert canaries() == 1


def test_a_cluster_that_comes_up_slowly_is_given_twice_the_time_at_each_start(cluster: worker_cluster.Cluster) -> None:
    for allowed in (1, 2, 4, 5, 5):
        cluster.trouble()
        sent(seconds_ago=allowed * timing.COMING_UP - 1)
        assert cluster.trouble() == ""
        sent(seconds_ago=allowed * timing.COMING_UP + 1)
        assert "executed nothing" in cluster.trouble()
        cluster.stop()
        cluster.start()


def test_production_and_sandbox_give_a_cluster_three_minutes_and_replace_a_hanging_one_within_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for scale, request in (("1", 60.0), ("0.1", 30.0)):
        monkeypatch.setenv("KVOPS_TIME_SCALE", scale)
        monkeypatch.setenv("KVOPS_SANDBOX", "1")
        monkeypatch.delenv("KVOPS_TESTING", raising=False)
        there = runpy.run_path(timing.__file__)
        assert (there["COMING_UP"], there["LONGEST_COMING_UP"], there["REQUEST_TIMEOUT"]) == (180, 900, request)
        assert there["CANARY"] + there["HANGS"] + worker_cluster.GRACE < 110


def test_a_canary_that_does_not_come_back_is_trouble(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    tasks.came_back(None)
    cluster.trouble()
    worker_cluster.send_canary()
    sent(seconds_ago=timing.HANGS + 1)
    Heartbeat.objects.of("canary").update(at=Now() - timedelta(seconds=timing.HANGS + 2))
    assert cluster.trouble() == f"The cluster executed nothing for {timing.HANGS + 1:.0f} s."


def test_any_task_that_comes_back_is_as_good_as_the_canary(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    sent(seconds_ago=timing.HANGS + 1)
    tasks.came_back(None)
    assert cluster.trouble() == ""


def test_a_cluster_whose_workers_are_in_long_steps_is_left_alone(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    sent(seconds_ago=timing.HANGS + 1)
    work_in(sentinel(cluster))
    assert cluster.trouble() == ""


def test_no_step_excuses_silence_for_ever(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    sent(seconds_ago=max(timing.HANGS, timing.COMING_UP) + worker_cluster.PATIENCE + 1)
    work_in(sentinel(cluster))
    assert "executed nothing" in cluster.trouble()


@pytest.mark.hazard("B30")
def test_the_worker_does_the_rounds_of_a_sweep_that_is_gone(
    cluster: worker_cluster.Cluster, estate: make.Estate, caplog: pytest.LogCaptureFixture
) -> None:
    run = scan(estate)
    OrmQ.objects.all().delete()
    Run.objects.update(task_sent_at=Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK + 1))
    worker_command.Command()._look_after_sweep()
    assert [row.func() for row in OrmQ.objects.all()].count("kvops.tasks.step") == 1
    assert "The sweep is not seen" in caplog.text
    assert (state(run), heartbeats.age("sweep")) == ("queued", None)


@pytest.mark.django_db
def test_the_worker_leaves_the_rounds_to_a_sweep_that_runs() -> None:
    heartbeats.beat("sweep")
    assert not sweep.stand_in()


def test_silence_while_nobody_sent_a_canary_is_no_trouble(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    tasks.came_back(None)
    Heartbeat.objects.update(at=F("at") - timedelta(days=1))
    assert cluster.trouble() == ""
    assert worker_cluster.canary_waits_since() is not None


def test_a_process_that_is_gone_is_trouble_at_the_next_look(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    tasks.came_back(None)
    cluster.trouble()
    sentinel(cluster).kill()
    until("it is noticed", lambda: "lost 1 of its processes" in cluster.trouble())


def test_what_was_killed_is_gone_although_nobody_fetches_it(cluster: worker_cluster.Cluster) -> None:
    cluster.trouble()
    tasks.came_back(None)
    cluster.trouble()
    child = sentinel(cluster)
    suspend(main(cluster))
    child.kill()
    until("it is noticed", lambda: "lost 1 of its processes" in cluster.trouble())
    assert child.status() == psutil.STATUS_ZOMBIE
    main(cluster).resume()


def test_an_answer_from_before_a_loss_while_it_starts_says_nothing(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {1, 2, 3}
    monkeypatch.setattr(worker_cluster, "_forked_by", lambda _: set(there))
    cluster.trouble()
    there.remove(3)
    cluster.trouble()
    tasks.came_back(None)
    OrmQ.objects.all().delete()
    assert (cluster.trouble(), canaries()) == ("", 1)
    there.remove(2)
    assert cluster.trouble() == ""


def test_a_worker_that_said_that_it_ends_is_not_missed_and_any_other_is(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {1, 2, 3}
    monkeypatch.setattr(worker_cluster, "_forked_by", lambda _: set(there))
    cluster.trouble()
    tasks.came_back(None)
    cluster._ended.add(2)
    assert cluster.trouble() == ""
    there.symmetric_difference_update({2, 4})
    assert cluster.trouble() == ""
    there.remove(4)
    assert cluster.trouble() == "The cluster lost 1 of its processes."


def test_a_cluster_that_does_not_answer_is_killed_with_what_it_forked(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_cluster, "GRACE", 0.2)
    child = sentinel(cluster)
    main(cluster).suspend()
    cluster.stop()
    until("the child is gone", lambda: not alive(child))


def test_a_cluster_that_is_stopped_says_for_which_run_it_waits_and_that_it_ends_its_step(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(worker_cluster, "GRACE", 0.2)
    monkeypatch.setattr(worker_cluster, "PATIENCE", 1.0)
    work_in(sentinel(cluster))
    suspend(main(cluster))
    cluster.stop()
    run = Run.objects.get()
    assert f"Waiting for a step of run {run.pk} (scan), at most 1 s." in caplog.messages
    assert f"The step of run {run.pk} (scan) is ended after 1 s." in caplog.messages
    assert "No step is under way" not in caplog.text


def test_a_cluster_can_be_stopped_while_the_database_is_away(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lease, "worker_name", away)
    monkeypatch.setattr(worker_cluster, "GRACE", 0.2)
    child = sentinel(cluster)
    main(cluster).suspend()
    cluster.stop()
    until("the child is gone", lambda: not alive(child))


def test_a_worker_that_waits_for_the_last_step_of_a_cluster_is_seen_and_does_the_rounds(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = restart(worker_command.Command(), cluster, monkeypatch)
    assert seen.count("worker") > 2
    assert seen.count("a round") > 2
    assert main(cluster).is_running()


def test_a_worker_that_is_terminated_while_it_waits_is_seen_no_more_and_starts_no_cluster(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = worker_command.Command()
    command._over.set()
    assert restart(command, cluster, monkeypatch) == ["worker", "a round"]
    assert cluster._process is None


def restart(
    command: worker_command.Command, cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Let it restart a cluster whose last step lasts longer than it waits; what it did meanwhile."""
    done: list[str] = []
    monkeypatch.setattr(worker_cluster, "GRACE", 0.2)
    monkeypatch.setattr(worker_cluster, "PATIENCE", 1.0)
    monkeypatch.setattr(heartbeats, "beat_worker", lambda: done.append("worker"))
    monkeypatch.setattr(sweep, "stand_in", lambda: done.append("a round"))
    monkeypatch.setattr(cluster, "trouble", lambda: "The cluster lost 1 of its processes.")
    work_in(sentinel(cluster))
    suspend(main(cluster))
    command._look_after(cluster)
    return done


def away(*_: object) -> str:
    raise OperationalError("the connection is closed")


def test_a_worker_does_not_judge_while_the_database_is_away(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeats, "beat_worker", away)
    child = sentinel(cluster)
    worker_command.Command()._look_after(cluster)
    assert "the connection is closed" in caplog.text
    assert alive(child)


def test_a_loss_is_made_up_for_although_the_database_went_away_at_the_same_look(
    cluster: worker_cluster.Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "trouble", lambda: "The cluster lost 1 of its processes.")
    monkeypatch.setattr(heartbeats, "beat_worker", lambda: None)
    monkeypatch.setattr(sweep, "stand_in", away)
    child = sentinel(cluster)
    worker_command.Command()._look_after(cluster)
    assert "It is restarted" in caplog.text
    until("the child is gone", lambda: not alive(child))


# The queue


@pytest.mark.django_db
def test_only_one_canary_waits_however_often_one_is_sent(estate: make.Estate) -> None:
    scan(estate)
    for _ in range(3):
        worker_cluster.send_canary()
    assert (canaries(), queue.length()) == (1, 2)
