"""Leases on the rows alone: who may work on a run, until when, and what each write of it leaves."""

import os
import signal
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ
from pytest_django import DjangoAssertNumQueries

from audit import log
from audit.actions import Action
from audit.models import Entry
from kvops import clock, timing
from kvops.models import Notification, Run
from kvops.operations import registry
from kvops.operations.parts import RunKind
from kvops.runs import driver as run_driver, lease as run_lease
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, LeaseLost, RunError, Stopped
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db


class ProcessClock:
    """Seconds of the process, that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> ProcessClock:
    found = ProcessClock()
    monkeypatch.setattr(run_lease, "time", found)
    return found


@pytest.fixture
def run(world: GateWorld) -> Run:
    operator = world.people.operator
    with log.transaction():
        made = run_driver.create(
            Run.Kind.SCAN, subject="namespace:1", label="x", actor=log.Actor(operator.pk, str(operator)),
            person=operator, environment=world.qa.environment,
        )  # fmt: skip
    OrmQ.objects.all().delete()
    change(made, updated_at=Now() - timedelta(hours=1), task_sent_at=Now() - timedelta(hours=1))
    return made


@pytest.fixture
def lease(run: Run, seconds: ProcessClock) -> Lease:
    found = run_lease.take(run.pk)
    assert found is not None
    return found


def change(run: Run, **values: object) -> None:
    Run.objects.filter(pk=run.pk).update(**values)


def row(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def told(run: Run) -> list[Entry]:
    return list(Entry.objects.filter(subject=f"run:{run.pk}").order_by("seq"))


def soon(moment: datetime | None, seconds: float) -> bool:
    """Whether it is so many seconds from now, by the database's clock."""
    return moment is not None and abs((moment - clock.now()).total_seconds() - seconds) < 3


# Words


def test_errors_carry_their_code_and_their_sentence() -> None:
    error = RunError("gave_up", "Started 5 times.")
    assert (error.code, str(error)) == ("gave_up", "Started 5 times.")
    assert (Stopped().code, str(Stopped())) == ("", "")
    assert (Stopped("emergency_stop", "QA is stopped.").code, str(Stopped("x", "QA"))) == ("emergency_stop", "QA")
    assert (Again().wait, Again().note, Done().result) == (0.0, "", {})


def test_an_owner_is_a_process_of_a_machine() -> None:
    assert run_lease.worker_name() == f"{socket.gethostname()}:{os.getpid()}"


def test_the_environment_is_named_when_there_is_one(run: Run) -> None:
    assert (run.audited["environment"], Run().audited["environment"]) == ("qa", "")


# Taking


def test_a_run_is_taken_once(run: Run, lease: Lease, seconds: ProcessClock) -> None:
    mine = row(run)
    assert (mine.state, mine.owner, mine.epoch, mine.starts) == ("running", run_lease.worker_name(), 1, 1)
    assert soon(mine.lease_until, timing.LEASE)
    assert soon(mine.updated_at, 0)
    assert (lease.run.pk, lease.epoch, lease.foreground, lease.over) == (run.pk, 1, False, False)
    assert run_lease.take(run.pk) is None
    assert [entry.action for entry in told(run)] == ["run.created"]


def test_a_lease_loads_what_its_work_needs(lease: Lease, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert (lease.run.environment, lease.run.started_by, lease.run.approval) is not None


def test_each_taking_is_another_epoch_and_another_start(run: Run, lease: Lease) -> None:
    change(run, owner="", lease_until=None)
    again = run_lease.take(run.pk)
    assert again is not None
    assert (again.epoch, row(run).epoch, row(run).starts) == (2, 2, 2)


@pytest.mark.parametrize(("wait", "taken"), [(-1, True), (0, True), (1, False)])
def test_a_run_that_waits_is_not_taken_before_its_time(run: Run, wait: int, taken: bool) -> None:
    change(run, wake_at=Now() + timedelta(seconds=wait))
    assert (run_lease.take(run.pk) is not None) == taken
    assert (row(run).wake_at is None) == taken


@pytest.mark.parametrize("state", ["succeeded", "failed", "stopped"])
def test_what_is_over_is_not_taken(run: Run, state: str) -> None:
    change(run, state="running")
    change(run, state=state, finished_at=Now(), error_code="x", error="x")
    assert run_lease.take(run.pk) is None


def test_a_run_of_a_command_is_taken_by_it_alone(run: Run) -> None:
    change(run, foreground=True)
    assert run_lease.take(run.pk) is None
    lease = run_lease.take(run.pk, foreground=True)
    assert lease is not None
    assert lease.foreground


@pytest.mark.parametrize(("late", "taken"), [(-2, False), (0.01, True)])
@pytest.mark.hazard("B31")
def test_it_is_taken_over_after_the_lease_and_one_longest_request(run: Run, late: float, taken: bool) -> None:
    ago = timedelta(seconds=timing.REQUEST_TIMEOUT + late)
    change(run, state="running", owner="elsewhere:1", epoch=7, lease_until=Now() - ago)
    assert (run_lease.take(run.pk) is not None) == taken
    assert row(run).owner == (run_lease.worker_name() if taken else "elsewhere:1")


def test_a_takeover_is_in_the_record(world: GateWorld, run: Run) -> None:
    change(run, state="running", owner="elsewhere:1", epoch=7, lease_until=Now() - timedelta(hours=1))
    run_lease.take(run.pk)
    entry = told(run)[-1]
    assert (entry.action, entry.environment, entry.actor_id) == (
        Action.RUN_TAKEN_OVER, "qa", world.people.operator.pk
    )  # fmt: skip
    assert entry.details == {"from": "elsewhere:1", "epoch": 8}


@pytest.fixture
def other(world: GateWorld) -> Run:
    """A run that is older than the run at hand, and as far."""
    with log.transaction():
        return run_driver.create(Run.Kind.SCAN, subject="namespace:2", label="y", actor=log.Actor.system("tests"))


def test_no_other_run_is_taken(other: Run, run: Run) -> None:
    change(other, epoch=5)
    lease = run_lease.take(run.pk)
    assert lease is not None
    assert (row(run).epoch, row(run).state) == (1, "running")
    assert (row(other).epoch, row(other).state) == (5, "queued")


@pytest.mark.parametrize("act", ["renew", "again", "done", "close"])
def test_no_other_run_is_touched(other: Run, run: Run, act: str) -> None:
    """Not even one that is held in the same epoch."""
    lease, theirs = run_lease.take(run.pk), run_lease.take(other.pk)
    assert lease is not None
    assert theirs is not None
    if act == "renew":
        lease.renew(note="these are mine")
    elif act == "close":
        run_lease.close_failed(lease, Run.State.FAILED, Action.RUN_FAILED, "x", "x")
    else:
        with lease.checkpoint(Again(note="these are mine") if act == "again" else Done()):
            pass
    held = row(other)
    assert (held.state, held.epoch, held.note, held.owner) == ("running", 1, "", run_lease.worker_name())


def test_whoever_holds_the_row_is_not_waited_for(run: Run) -> None:
    with CaptureQueriesContext(connection) as asked:
        run_lease.take(run.pk)
    [lock] = [
        query["sql"] for query in asked.captured_queries if "FOR UPDATE" in query["sql"] and "_run" in query["sql"]
    ]
    assert lock.endswith("FOR UPDATE SKIP LOCKED")


# Trusting


def test_whoever_works_is_who_started_it(world: GateWorld, run: Run, lease: Lease) -> None:
    assert lease.actor == log.Actor(world.people.operator.pk, str(world.people.operator))
    lease.run.started_by = None
    assert lease.actor == log.Actor(None, str(world.people.operator))


def test_a_step_ends_when_it_is_over(lease: Lease, seconds: ProcessClock) -> None:
    seconds.now += timing.STEP - 0.01
    assert not lease.tired
    seconds.now = 1000.0 + timing.STEP
    assert lease.tired


def test_a_lease_is_trusted_for_less_than_it_lasts(lease: Lease, seconds: ProcessClock) -> None:
    seconds.now = 1000.0 + timing.TRUST - 0.01
    lease.insist()
    seconds.now = 1000.0 + timing.TRUST
    with pytest.raises(LeaseLost, match=rf"^Run {lease.run.pk}: the lease is too old to be trusted\.$"):
        lease.insist()


def test_trust_counts_from_when_it_was_asked_for(
    run: Run, seconds: ProcessClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the database took to answer."""
    real = Run.objects.select_for_update
    monkeypatch.setattr(seconds, "now", 1000.0)

    def slow(*, skip_locked: bool) -> object:
        seconds.now += 5
        return real(skip_locked=skip_locked)

    monkeypatch.setattr(Run.objects, "select_for_update", slow)
    lease = run_lease.take(run.pk)
    assert lease is not None
    assert (lease._trusted_until, lease._step_until) == (1000.0 + timing.TRUST, 1000.0 + timing.STEP)


# Fencing


@pytest.fixture
def alarms() -> Iterator[None]:
    """The process's alarm is given back."""
    before, handler = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *before)


@pytest.mark.hazard("B31")
def test_within_the_fence_the_kernel_ends_what_wakes_too_late(
    lease: Lease, seconds: ProcessClock, alarms: None
) -> None:
    seconds.now += 3
    with lease.fence():
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        assert timing.TRUST + timing.REQUEST_TIMEOUT - 3.5 < left <= timing.TRUST + timing.REQUEST_TIMEOUT - 3
        assert interval == 0


def test_after_the_fence_the_alarm_is_as_it_was(lease: Lease, seconds: ProcessClock, alarms: None) -> None:
    def mine(_number: int, _frame: object) -> None: ...

    signal.signal(signal.SIGALRM, mine)
    signal.setitimer(signal.ITIMER_REAL, 50, 7)
    with lease.fence():
        seconds.now += 20
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert (signal.getsignal(signal.SIGALRM), interval) == (mine, 7)
    assert 29 < left <= 30
    signal.setitimer(signal.ITIMER_REAL, 0)
    seconds.now = 1000.0
    with lease.fence():
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_was_due_within_the_fence_comes_right_after_it(
    lease: Lease, seconds: ProcessClock, alarms: None
) -> None:
    came: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _frame: came.append(number))
    signal.setitimer(signal.ITIMER_REAL, 50)
    with lease.fence():
        seconds.now += 60
    assert came or signal.getitimer(signal.ITIMER_REAL)[0] < 0.5
    signal.pause() if not came else None
    assert came == [signal.SIGALRM]


def test_nothing_is_changed_outside_on_an_old_lease(lease: Lease, seconds: ProcessClock, alarms: None) -> None:
    seconds.now += timing.TRUST
    before = signal.getitimer(signal.ITIMER_REAL)[1]
    with pytest.raises(LeaseLost), lease.fence():
        raise AssertionError("it was trusted")
    assert signal.getitimer(signal.ITIMER_REAL)[1] == before


def test_a_pause_right_before_the_fence_is_noticed(
    lease: Lease, seconds: ProcessClock, alarms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(self: Lease) -> None:
        seconds.now += timing.TRUST

    monkeypatch.setattr(Lease, "_arm", pause)
    with pytest.raises(LeaseLost), lease.fence():
        raise AssertionError("it was trusted")


def test_a_lease_renewed_within_the_fence_prolongs_it(lease: Lease, seconds: ProcessClock, alarms: None) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    lease.renew()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with lease.fence():
        signal.setitimer(signal.ITIMER_REAL, 1)
        lease.renew()
        assert signal.getitimer(signal.ITIMER_REAL)[0] > timing.TRUST + timing.REQUEST_TIMEOUT - 0.5
    lease.renew()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_no_alarm_of_before_reaches_into_the_fence(
    lease: Lease, seconds: ProcessClock, alarms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []
    monkeypatch.setattr(Lease, "_arm", lambda _self: seen.append(signal.getitimer(signal.ITIMER_REAL)))
    with lease.fence():
        pass
    assert seen == [(0, 0)]


def test_an_alarm_that_is_due_already_comes_at_once(lease: Lease, seconds: ProcessClock, alarms: None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    lease._trusted_until = seconds.now - timing.REQUEST_TIMEOUT
    lease._arm()
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= 0.001


# Renewing


def test_a_renewal_proves_the_lease_and_prolongs_it(run: Run, lease: Lease, seconds: ProcessClock) -> None:
    change(run, lease_until=Now(), updated_at=Now() - timedelta(hours=1))
    seconds.now += 4
    lease.renew(note="half", done=7)
    mine = row(run)
    assert (mine.note, mine.done, lease.run.note, lease.run.done) == ("half", 7, "half", 7)
    assert soon(mine.lease_until, timing.LEASE)
    assert soon(mine.updated_at, 0)
    assert lease._trusted_until == 1004.0 + timing.TRUST


@pytest.mark.parametrize("lost", [{"epoch": F("epoch") + 1}, {"state": "queued", "owner": "", "lease_until": None}])
@pytest.mark.hazard("B31")
def test_whoever_was_taken_over_writes_nothing(run: Run, lease: Lease, lost: dict[str, object]) -> None:
    if "state" in lost:
        Run.objects.filter(pk=run.pk).update(
            state="failed", error_code="x", error="x", owner="", lease_until=None, finished_at=Now()
        )
    else:
        change(run, **lost)
    with pytest.raises(LeaseLost, match=rf"^Run {run.pk} was taken over\.$"):
        lease.renew(note="late as agreed")
    assert row(run).note == ""


def test_a_person_who_asks_it_to_stop_is_heard(run: Run, lease: Lease) -> None:
    change(run, stop_requested_by="operator")
    with pytest.raises(Stopped):
        lease.renew(note="kept")
    assert row(run).note == "kept"


def test_keeping_renews_only_what_is_getting_old(run: Run, lease: Lease, seconds: ProcessClock) -> None:
    seconds.now += timing.KEEP - 0.01
    lease.keep()
    assert lease._trusted_until == 1000.0 + timing.TRUST
    seconds.now = 1000.0 + timing.KEEP
    lease.keep()
    assert lease._trusted_until == seconds.now + timing.TRUST


# Ending a step


def test_a_checkpoint_commits_effects_and_progress_and_forgets_the_tries(run: Run, lease: Lease) -> None:
    change(run, starts=4, tries=3)
    with lease.checkpoint(cursor={"at": 5}, done=5):
        log.record(Action.RUN_STOP_REQUESTED, actor=lease.actor, subject="run:0")
    mine = row(run)
    assert (mine.starts, mine.tries, mine.cursor, mine.done) == (0, 0, {"at": 5}, 5)
    assert (mine.state, mine.owner, lease.over) == ("running", run_lease.worker_name(), False)
    assert Entry.objects.filter(subject="run:0").exists()


def test_an_intent_forgets_neither_starts_nor_tries(run: Run, lease: Lease) -> None:
    change(run, starts=4, tries=3)
    with lease.checkpoint(no_further=True, cursor={"at": 5}):
        pass
    mine = row(run)
    assert (mine.starts, mine.tries, mine.cursor, lease.run.cursor) == (4, 3, {"at": 5}, {"at": 5})


def test_of_a_checkpoint_that_is_rolled_back_nothing_stays(run: Run, lease: Lease, seconds: ProcessClock) -> None:
    lease.run.starts, lease.run.tries = 4, 3
    change(run, starts=4, tries=3)
    seconds.now += 4
    with pytest.raises(RuntimeError, match="refused"), lease.checkpoint(cursor={"at": 5}, done=5):
        raise RuntimeError("refused")
    for one in (row(run), lease.run):
        assert (one.starts, one.tries, one.cursor, one.done) == (4, 3, {}, 0)
    assert lease._trusted_until == 1000.0 + timing.TRUST


def test_a_finished_run_gives_its_lease_back(
    world: GateWorld, run: Run, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(run, updated_at=Now() - timedelta(hours=1), wake_at=Now())
    told_of: list[Run] = []
    monkeypatch.setitem(registry.RUNS, Run.Kind.SCAN, RunKind(str, finished=(told_of.append,)))
    with lease.checkpoint(Done({"keys": 3})):
        pass
    mine = row(run)
    assert (mine.state, mine.owner, mine.lease_until, mine.wake_at) == ("succeeded", "", None, None)
    assert (mine.result, lease.over, told_of) == ({"keys": 3}, True, [lease.run])
    assert soon(mine.finished_at, 0)
    assert soon(mine.updated_at, 0)
    entry = told(run)[-1]
    assert (entry.action, entry.actor_id, entry.environment, entry.details) == (
        Action.RUN_FINISHED, world.people.operator.pk, "qa", {"keys": 3}
    )  # fmt: skip
    assert not OrmQ.objects.exists()


def finished(_run: Run) -> None:
    """Replaced by a test."""


def queued() -> list[tuple[str, tuple[int, ...]]]:
    return [(task["func"], task["args"]) for task in (row.task for row in OrmQ.objects.all())]


def test_a_step_is_followed_by_another(run: Run, lease: Lease) -> None:
    past = {"updated_at": Now() - timedelta(hours=1), "task_sent_at": Now() - timedelta(hours=1)}
    change(run, note="before as agreed", **past)
    with lease.checkpoint(Again()):
        pass
    mine = row(run)
    assert (mine.state, mine.owner, mine.lease_until, mine.wake_at) == ("running", "", None, None)
    assert (mine.note, lease.over) == ("before as agreed", True)
    assert soon(mine.updated_at, 0)
    assert soon(mine.task_sent_at, 0)
    assert queued() == [("kvops.tasks.step", (run.pk,))]


def test_a_run_that_must_wait_wakes_by_itself(run: Run, lease: Lease) -> None:
    with lease.checkpoint(Again(7, "Waiting.")):
        pass
    mine = row(run)
    assert (mine.note, mine.owner, queued()) == ("Waiting.", "", [])
    assert soon(mine.wake_at, 7)


def test_a_run_of_a_command_queues_nothing(run: Run) -> None:
    change(run, foreground=True)
    lease = run_lease.take(run.pk, foreground=True)
    assert lease is not None
    with lease.checkpoint(Again()):
        pass
    assert queued() == []


@pytest.mark.parametrize("then", [Again(), Done()])
@pytest.mark.parametrize("lost", [{"epoch": F("epoch") + 1}, {"state": "failed"}], ids=["epoch", "state"])
def test_what_was_taken_over_within_the_checkpoint_commits_nothing(
    run: Run, lease: Lease, then: Again | Done, lost: dict[str, object]
) -> None:
    over = {"owner": "", "lease_until": None, "finished_at": Now(), "error_code": "x", "error": "x"}
    with pytest.raises(LeaseLost, match=rf"^Run {run.pk} was taken over\.$"), lease.checkpoint(then):
        change(run, **lost, **(over if "state" in lost else {}))
    assert (row(run).epoch, row(run).state, lease.over) == (1, "running", False)


# Closing


def test_a_run_that_failed_says_why(world: GateWorld, run: Run, lease: Lease) -> None:
    change(run, stop_requested_by="x", updated_at=Now() - timedelta(hours=1), wake_at=Now())
    run_lease.close_failed(lease, Run.State.FAILED, Action.RUN_FAILED, "gave_up", "Started 5 times." + "x" * 600)
    mine = row(run)
    assert (mine.state, mine.owner, mine.lease_until, mine.wake_at) == ("failed", "", None, None)
    assert (mine.error_code, mine.error, mine.stop_requested_by) == ("gave_up", "Started 5 times." + "x" * 600, "")
    assert soon(mine.finished_at, 0)
    assert soon(mine.updated_at, 0)
    entry = told(run)[-1]
    assert (entry.action, entry.actor_id, entry.environment) == ("run.failed", world.people.operator.pk, "qa")
    assert entry.details == {"code": "gave_up", "error": mine.error[:500]}


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        (Run.State.FAILED, Action.RUN_FAILED, [["Started 5 times."]]),
        (Run.State.STOPPED, Action.RUN_STOPPED, []),
    ],
)
def test_that_a_run_failed_is_told_and_why(
    world: GateWorld, lease: Lease, state: Run.State, action: Action, words: list[list[str]]
) -> None:
    run_lease.close_failed(lease, state, action, "gave_up", "Started 5 times.")
    told_of = Notification.objects.filter(event="run.failed", person=world.people.operator)
    assert [one.lines[1:] for one in told_of] == words


@pytest.mark.parametrize(
    "lost",
    [
        {"epoch": F("epoch") + 1},
        {"state": "stopped", "owner": "", "lease_until": None, "finished_at": Now()},
        {"owner": "", "lease_until": None},
    ],
    ids=["epoch", "state", "owner"],
)
def test_whoever_holds_the_lease_no_more_closes_nothing(
    run: Run, lease: Lease, lost: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    change(run, **lost)
    run_lease.close_failed(lease, Run.State.FAILED, Action.RUN_FAILED, "x", "x")
    assert row(run).state != "failed"
    assert [entry.action for entry in told(run)] == ["run.created"]
    assert caplog.messages[-1] == f"Run {run.pk} was given back or taken over before it could be closed."
