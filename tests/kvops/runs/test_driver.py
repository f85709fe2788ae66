"""Runs: who may work on one, what a step leaves behind, what happens when a worker is lost."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import IntegrityError, InterfaceError, InternalError, OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import OrmQ

from audit import log
from audit.models import Entry
from kvops import clock, timing
from kvops.cloudflare import ApiError, RateLimited, TransportError
from kvops.models import Run
from kvops.operations import registry
from kvops.operations.parts import RunKind
from kvops.runs import driver as run_driver, lease as run_lease, outcomes, sweeping
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done
from tests import make

pytestmark = pytest.mark.django_db

type Step = Callable[[Lease], Again | Done | None]

steps: list[Step] = []
finished: list[Run] = []
OPERATOR = log.Actor(None, "Operator <operator@example.com>")


def work_a_step(lease: Lease) -> Again | Done | None:
    """What the product calls for a scan in these tests."""
    return steps.pop(0)(lease) if steps else Done()


def note_finished(run: Run) -> None:
    """What the product calls when that scan is done."""
    finished.append(run)


def refuse_to_finish(run: Run) -> None:
    """A hook that fails."""
    raise outcomes.RunError("hook", "The stage was moved by somebody else.")


@pytest.fixture(autouse=True)
def _our_own_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.RUNS, Run.Kind.SCAN, RunKind(work_a_step, finished=(note_finished,)))
    yield
    steps.clear()
    finished.clear()


def create(*, subject: str = "namespace:1", foreground: bool = False) -> Run:
    with log.transaction():
        return run_driver.create(
            Run.Kind.SCAN, subject=subject, label="qa/SETTINGS", actor=OPERATOR, foreground=foreground
        )


def again(run: Run) -> Run:
    run.refresh_from_db()
    return run


def lose(run: Run, *, seconds: float) -> None:
    """Let the run's lease end so many seconds ago."""
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=seconds), task_sent_at=F("created_at"))


def forget_the_wake_up_task(run: Run) -> None:
    OrmQ.objects.all().delete()
    Run.objects.filter(pk=run.pk).update(
        task_sent_at=Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK + 1),
        updated_at=Now() - timedelta(seconds=timing.STALE_WAKE_UP_TASK + timing.REQUEST_TIMEOUT + 1),
    )


def actions(run: Run) -> list[str]:
    return list(Entry.objects.filter(subject=f"run:{run.pk}").order_by("seq").values_list("action", flat=True))


def raising(error: Exception) -> Step:
    def step(_lease: Lease) -> None:
        raise error

    return step


# Creating


def test_a_run_its_wake_up_task_and_its_entry_are_one_transaction() -> None:
    def create_and_fail() -> None:
        with log.transaction():
            run_driver.create(Run.Kind.SCAN, subject="namespace:1", label="x", actor=OPERATOR)
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        create_and_fail()
    assert (Run.objects.count(), OrmQ.objects.count(), Entry.objects.count()) == (0, 0, 0)


def test_a_run_outside_a_recorded_transaction_is_refused() -> None:
    with pytest.raises(log.OutsideTransactionError):
        run_driver.create(Run.Kind.SCAN, subject="namespace:1", label="x", actor=OPERATOR)


def test_a_subject_has_one_open_run_of_a_kind() -> None:
    create()
    with pytest.raises(run_driver.AlreadyOpen):
        create()


def test_a_foreground_run_has_no_wake_up_task() -> None:
    create(foreground=True)
    assert OrmQ.objects.count() == 0


# The lease


def test_trust_ends_a_whole_request_before_the_lease() -> None:
    assert timing.TRUST + timing.REQUEST_TIMEOUT <= timing.LEASE


def test_the_epoch_of_a_run_never_goes_back() -> None:
    run = create()
    run_lease.take(run.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(epoch=0)


# Steps


def test_the_next_step_is_queued_with_the_progress_of_this_one() -> None:
    run = create()
    OrmQ.objects.all().delete()

    def step(lease: Lease) -> None:
        with lease.checkpoint(Again(note="half of them only"), done=5, total=10, cursor={"page": "2"}):
            pass

    steps.append(step)
    run_driver.drive(run.pk)
    assert (again(run).state, run.owner, run.done, run.cursor) == ("running", "", 5, {"page": "2"})
    assert OrmQ.objects.count() == 1


def test_whoever_waits_for_the_end_is_told_within_its_transaction() -> None:
    run = create()
    run_driver.drive(run.pk)
    assert [told.pk for told in finished] == [run.pk]


def test_a_run_is_not_finished_when_what_follows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RUNS, Run.Kind.SCAN, RunKind(work_a_step, finished=(refuse_to_finish,)))
    run = create()
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "hook")
    assert actions(run) == ["run.created", "run.failed"]


def test_a_run_that_is_over_is_not_started_again_by_a_late_wake_up_task() -> None:
    run = create()
    run_driver.drive(run.pk)
    run_driver.drive(run.pk)
    assert again(run).epoch == 1


def test_a_foreground_run_goes_to_its_end_without_the_queue() -> None:
    run = create(foreground=True)
    steps.extend([lambda _lease: Again(), lambda _lease: Again(wait=0.01), lambda _lease: Done()])
    seen = [step.state for step in run_driver.drive_to_the_end(run)]
    assert (seen[-1], OrmQ.objects.count()) == ("succeeded", 0)


# Waiting and failing


def test_waiting_for_the_request_limit_is_no_failed_start() -> None:
    run = create()
    steps.append(raising(RateLimited("wait", retry_after=30)))
    run_driver.drive(run.pk)
    assert (again(run).state, run.starts) == ("running", 0)
    assert run.wake_at is not None
    assert 25 < clock.seconds_until(run.wake_at) <= 30


def test_the_request_limit_may_be_met_after_a_checkpoint() -> None:
    run = create()

    def step(lease: Lease) -> None:
        with lease.checkpoint(done=5):
            pass
        raise RateLimited("wait", retry_after=30)

    steps.append(step)
    run_driver.drive(run.pk)
    assert (again(run).state, run.owner, run.starts, run.done) == ("running", "", 0, 5)


@pytest.mark.parametrize(
    "error",
    [
        TransportError("no answer", outcome_unknown=True),
        ApiError("bad gateway", status=502),
        outcomes.TryLater("not yet"),
    ],
)
def test_what_may_pass_is_tried_again_later_and_is_no_failed_start(error: Exception) -> None:
    run = create()
    steps.append(raising(error))
    run_driver.drive(run.pk)
    assert (again(run).state, run.starts, run.tries) == ("running", 0, 1)
    assert run.wake_at is not None


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("the connection is closed"),
        InterfaceError("connection already closed"),
        InternalError("terminating connection due to idle-in-transaction timeout"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_that_failed_is_tried_again_later(error: Exception) -> None:
    run = create()
    steps.append(raising(error))
    run_driver.drive(run.pk)
    assert (again(run).state, run.starts, run.tries) == ("running", 0, 1)
    assert run.wake_at is not None


def test_a_step_that_only_waits_is_no_step_forward_and_no_start_in_vain() -> None:
    run = create()
    Run.objects.filter(pk=run.pk).update(starts=2, tries=3)
    steps.append(lambda _: Again(wait=30.0))
    run_driver.drive(run.pk)
    assert (again(run).state, run.starts, run.tries) == ("running", 2, 3)


def test_a_step_whose_last_commit_arrived_though_its_answer_was_lost_has_ended() -> None:
    run = create()

    def step(lease: Lease) -> None:
        with lease.checkpoint(Again(wait=30.0), done=5):
            pass
        raise OperationalError("the connection is closed")

    steps.append(step)
    run_driver.drive(run.pk)
    assert (again(run).state, run.owner, run.done, run.note) == ("running", "", 5, "")


def waits(error: Exception, times: int) -> list[float]:
    """The seconds a run waits after each of so many errors in a row, in units of the first wait."""
    run, found = create(), []
    for _ in range(times):
        steps.append(raising(error))
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
        assert again(run).wake_at is not None
        found.append(clock.seconds_until(run.wake_at or clock.now()))
    return found


def test_each_wait_is_longer_than_the_one_before_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "RETRY", 15.0)
    monkeypatch.setattr(timing, "LONGEST_RETRY", 100.0)
    found = waits(outcomes.TryLater("R2 does not answer."), 5)
    assert found == [pytest.approx(wait, abs=2) for wait in (15, 30, 60, 100, 100)]


def test_a_server_that_says_how_long_to_wait_is_obeyed() -> None:
    assert waits(ApiError("busy", status=503, retry_after=90), 1) == [pytest.approx(90, abs=2)]


def test_twenty_tries_without_getting_further_are_the_end() -> None:
    run = create()
    for _ in range(run_driver.MAX_TRIES + 1):
        steps.append(raising(outcomes.TryLater("R2 does not answer.")))
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "gave_up")
    assert "R2 does not answer." in run.error


def test_five_starts_that_ended_the_worker_are_the_end() -> None:
    run = create()
    Run.objects.filter(pk=run.pk).update(starts=run_driver.MAX_STARTS)
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code, run.starts) == ("failed", "gave_up", 6)


def test_a_checkpoint_forgives_earlier_starts() -> None:
    run = create()
    Run.objects.filter(pk=run.pk).update(starts=run_driver.MAX_STARTS - 1)

    def step(lease: Lease) -> Again:
        with lease.checkpoint(done=1):
            pass
        return Again()

    steps.append(step)
    run_driver.drive(run.pk)
    assert again(run).starts == 0


def intend_and_fail(lease: Lease) -> None:
    """What is about to be done is written down, and then nothing comes of it."""
    with lease.checkpoint(no_further=True, note="about to write"):
        pass
    raise outcomes.TryLater("R2 does not answer.")


def roll_back(lease: Lease) -> None:
    """The same, refused within the transaction."""
    with lease.checkpoint(note="about to write"):
        raise outcomes.TryLater("R2 does not answer.")


@pytest.mark.parametrize("step", [intend_and_fail, roll_back])
def test_an_intent_is_no_step_forward_and_neither_is_what_was_rolled_back(step: Step) -> None:
    run = create()
    Run.objects.filter(pk=run.pk).update(starts=2)
    for tries in range(1, run_driver.MAX_TRIES + 1):
        steps.append(step)
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
        assert (again(run).starts, run.tries) == (2, tries)
    steps.append(step)
    Run.objects.filter(pk=run.pk).update(wake_at=None)
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "gave_up")


def test_a_worker_that_dies_after_each_intent_is_not_started_for_ever() -> None:
    run = create()

    def die(lease: Lease) -> None:
        with lease.checkpoint(no_further=True):
            pass
        raise KeyboardInterrupt

    for _ in range(run_driver.MAX_STARTS):
        steps.append(die)
        with pytest.raises(KeyboardInterrupt):
            run_driver.drive(run.pk)
        lose(run, seconds=timing.REQUEST_TIMEOUT + 1)
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "gave_up")


def test_waiting_for_the_request_limit_after_an_intent_counts_neither_as_a_start_nor_as_a_try() -> None:
    run = create()
    Run.objects.filter(pk=run.pk).update(starts=2, tries=3)

    def step(lease: Lease) -> None:
        with lease.checkpoint(no_further=True):
            pass
        raise RateLimited("slow down", retry_after=1)

    steps.append(step)
    run_driver.drive(run.pk)
    assert (again(run).state, run.starts, run.tries) == ("running", 2, 3)


def test_an_answer_that_blames_the_request_fails_the_run_with_its_sentence() -> None:
    run = create()
    steps.append(raising(ApiError("Authentication error", status=403)))
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "cloudflare")
    assert "Authentication error" in run.error


def test_an_unforeseen_error_fails_the_run_without_its_text() -> None:
    run = create()
    steps.append(raising(ValueError("a value nobody should read here")))
    run_driver.drive(run.pk)
    assert (again(run).state, run.error_code) == ("failed", "unexpected")
    assert "ValueError" in run.error
    assert "nobody should read" not in run.error


# Stop and resume


def test_a_stop_takes_effect_at_the_next_checkpoint() -> None:
    run = create()

    def step(lease: Lease) -> None:
        run_driver.request_stop(run, actor=OPERATOR)
        with lease.checkpoint(done=99):
            pass

    steps.append(step)
    run_driver.drive(run.pk)
    assert (again(run).state, run.done, run.stop_requested_by) == ("stopped", 0, "")
    assert actions(run) == ["run.created", "run.stop_requested", "run.stopped"]


def test_a_stop_is_in_the_name_of_who_asked_for_it(people: make.People) -> None:
    for by, told in [(log.Actor.system("first-chunk"), "system:first-chunk"), (people.operator2.actor, None)]:
        run = create()
        run_driver.request_stop(run, actor=by)
        run_driver.drive(run.pk)
        entry = Entry.objects.get(subject=f"run:{run.pk}", action="run.stopped")
        assert (entry.actor_id, entry.actor) == (by.id, told or str(people.operator2))


def test_a_run_that_waits_is_stopped_at_once() -> None:
    run = create()
    steps.append(lambda _lease: Again(wait=600))
    run_driver.drive(run.pk)
    run_driver.request_stop(run, actor=OPERATOR)
    run_driver.drive(run.pk)
    assert again(run).state == "stopped"


def test_a_stop_is_asked_for_once() -> None:
    run = create()
    run_driver.request_stop(run, actor=OPERATOR)
    with pytest.raises(run_driver.NotResumable):
        run_driver.request_stop(run, actor=OPERATOR)


def test_a_resumed_run_is_the_same_run_in_a_later_epoch() -> None:
    run = create()
    steps.append(raising(outcomes.RunError("odd", "Something is odd.")))
    run_driver.drive(run.pk)
    Run.objects.filter(pk=run.pk).update(done=7)
    run_driver.resume(run, actor=OPERATOR)
    assert (again(run).state, run.epoch, run.error, run.starts) == ("queued", 2, "", 0)
    assert (run.resumed_at is not None, run.resumed_done) == (True, 7)
    run_driver.drive(run.pk)
    assert again(run).state == "succeeded"


@pytest.mark.parametrize("state", ["queued", "succeeded"])
def test_only_what_failed_or_stopped_can_be_resumed(state: str) -> None:
    run = create()
    if state == "succeeded":
        run_driver.drive(run.pk)
    with pytest.raises(run_driver.NotResumable):
        run_driver.resume(run, actor=OPERATOR)


def test_a_run_is_not_resumed_beside_a_newer_one() -> None:
    old = create()
    steps.append(raising(outcomes.RunError("odd", "Something is odd.")))
    run_driver.drive(old.pk)
    create()
    with pytest.raises(run_driver.NotResumable):
        run_driver.resume(old, actor=OPERATOR)


# The sweep


def test_a_lost_wake_up_task_is_rung_again_once() -> None:
    run = create()
    forget_the_wake_up_task(run)
    assert (sweeping.wake_due(), sweeping.wake_due(), OrmQ.objects.count()) == (1, 0, 1)


def test_a_wait_that_is_over_is_rung_once() -> None:
    run = create()
    OrmQ.objects.all().delete()
    Run.objects.filter(pk=run.pk).update(wake_at=Now())
    assert (sweeping.wake_due(), sweeping.wake_due(), OrmQ.objects.count()) == (1, 0, 1)


def test_a_lost_worker_is_found_by_the_sweep() -> None:
    run = create()
    run_lease.take(run.pk)
    forget_the_wake_up_task(run)
    lose(run, seconds=timing.REQUEST_TIMEOUT + 1)
    forget_the_wake_up_task(run)
    assert sweeping.wake_due() == 1


def test_a_working_run_is_not_rung() -> None:
    run = create()
    run_lease.take(run.pk)
    forget_the_wake_up_task(run)
    assert sweeping.wake_due() == 0


def test_a_foreground_run_is_never_rung() -> None:
    run = create(foreground=True)
    forget_the_wake_up_task(run)
    assert (sweeping.wake_due(), OrmQ.objects.count()) == (0, 0)


def test_a_foreground_run_whose_command_is_gone_is_closed_and_can_go_on_in_a_worker() -> None:
    run = create(foreground=True)
    run_lease.take(run.pk, foreground=True)
    lose(run, seconds=timing.REQUEST_TIMEOUT + 1)
    assert sweeping.close_abandoned() == 1
    assert (again(run).state, run.error_code) == ("failed", "abandoned")
    run_driver.resume(run, actor=OPERATOR)
    run_driver.drive(run.pk)
    assert again(run).state == "succeeded"


def test_a_foreground_run_that_never_started_is_closed() -> None:
    run = create(foreground=True)
    forget_the_wake_up_task(run)
    assert sweeping.close_abandoned() == 1


def test_a_foreground_run_at_work_is_not_closed() -> None:
    run = create(foreground=True)
    run_lease.take(run.pk, foreground=True)
    forget_the_wake_up_task(run)
    assert sweeping.close_abandoned() == 0


def test_work_does_everything_there_is(people: make.People) -> None:
    run = create()
    steps.extend([lambda _lease: Again(wait=600), lambda _lease: Again()])
    make.work()
    assert again(run).state == "succeeded"
