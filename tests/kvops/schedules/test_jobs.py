"""Schedules: each due time starts its work exactly once; what was missed, refused or paused is said."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, InternalError, OperationalError

from audit import log
from audit.models import Entry
from kvops import clock, timing
from kvops.models import Environment, Firing, Notification, NotificationEvent, Run, Schedule
from kvops.operations import registry
from kvops.operations.parts import ScheduledJob
from kvops.runs import driver as run_driver
from kvops.schedules import cron, jobs as schedule_jobs, punctuality
from kvops.schedules.jobs import Begun, ScheduleRefused
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
REAL = dict(registry.JOBS)
answers: list[Begun | Exception] = []


def begin(environment: Environment | None, actor: log.Actor) -> Begun:
    """What the job of these tests does: a run, unless something else is said."""
    if answers:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
    number = Run.objects.count()
    return Begun([run_driver.create(Run.Kind.VERIFY, subject=f"generation:{number}", label="x", actor=actor)])


@pytest.fixture(autouse=True)
def _our_own_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    job = ScheduledJob("The job", begin, "0 3 * * *", each=False, apart=timedelta(minutes=5))
    monkeypatch.setattr(registry, "JOBS", {"job": job})
    yield
    answers.clear()


@pytest.fixture
def schedule(db: None) -> Schedule:
    schedule_jobs.provide()
    return Schedule.objects.get()


def fire(at: datetime) -> list[Firing]:
    schedule_jobs.fire_due(at)
    return list(Firing.objects.order_by("due_at"))


def finish(state: str = "succeeded") -> None:
    Run.objects.filter(state="queued").update(state="running")
    values = {"error_code": "x", "error": "x"} if state == "failed" else {}
    Run.objects.filter(state="running").update(state=state, finished_at=clock.now(), **values)


def test_every_environment_gets_its_schedules_once(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.JOBS, "each", ScheduledJob("x", begin, "0 4 * * *"))
    schedule_jobs.provide()
    schedule_jobs.provide()
    assert sorted(map(str, Schedule.objects.all())) == ["job", "production each", "qa each"]
    assert {one.zone for one in Schedule.objects.all()} == {"Asia/Tokyo"}


def test_nothing_is_started_before_it_is_due(schedule: Schedule) -> None:
    assert fire(schedule.next_at - timedelta(seconds=1)) == []


def test_what_is_due_starts_its_runs_once(schedule: Schedule) -> None:
    fire(schedule.next_at)
    (firing,) = fire(schedule.next_at)
    assert (firing.due_at, firing.outcome, firing.missed) == (schedule.next_at, "started", 0)
    assert [run.firing for run in Run.objects.all()] == [firing]
    assert Schedule.objects.get().next_at == schedule.next_at + DAY


def test_two_sweeps_that_saw_it_due_start_it_once(schedule: Schedule) -> None:
    assert schedule_jobs.fire(schedule.pk, schedule.next_at)
    assert not schedule_jobs.fire(schedule.pk, schedule.next_at)
    assert Run.objects.count() == 1


def test_due_times_that_passed_while_nothing_ran_are_caught_up_once_and_told(
    schedule: Schedule, people: make.People
) -> None:
    (firing,) = fire(schedule.next_at + 3 * DAY + timedelta(hours=1))
    assert (firing.due_at, firing.missed) == (schedule.next_at + 3 * DAY, 3)
    assert firing.missed_since == schedule.next_at
    assert Run.objects.count() == 1
    told = Notification.objects.filter(event=NotificationEvent.SCHEDULE_MISSED)
    assert {one.person for one in told} == {people.operator, people.operator2}
    assert "3 earlier due times" in " ".join(told[0].lines)
    assert Entry.objects.get(action="schedule.missed").details["missed"] == 3


def test_one_due_time_that_is_started_late_is_told(schedule: Schedule, people: make.People) -> None:
    fire(schedule.next_at + timedelta(seconds=timing.FIRED_LATE + 1))
    assert Notification.objects.filter(event=NotificationEvent.SCHEDULE_MISSED).count() == 2


def test_a_start_in_time_is_not_told(schedule: Schedule, people: make.People) -> None:
    fire(schedule.next_at + timedelta(seconds=timing.FIRED_LATE))
    assert not Notification.objects.exists()


def test_a_job_that_refuses_says_why_and_is_due_again_next_time(schedule: Schedule, people: make.People) -> None:
    answers.append(Begun(refused=["Somebody is at it."]))
    (firing,) = fire(schedule.next_at)
    assert (firing.outcome, firing.reason) == ("refused", "Somebody is at it.")
    assert Notification.objects.filter(event=NotificationEvent.SCHEDULE_REFUSED).count() == 2
    assert fire(schedule.next_at + DAY)[1].outcome == "started"


def test_a_job_that_breaks_has_done_nothing_and_says_so(schedule: Schedule) -> None:
    answers.append(LookupError("secret"))
    (firing,) = fire(schedule.next_at)
    assert firing.outcome == "refused"
    assert firing.reason == "Unexpected LookupError. The log of the sweep has the details."


@pytest.mark.parametrize("error", [OperationalError("gone"), InternalError("terminating connection")])
def test_a_database_that_fails_leaves_it_due(schedule: Schedule, error: DatabaseError) -> None:
    answers.append(error)
    with pytest.raises(type(error)):
        schedule_jobs.fire_due(schedule.next_at)
    assert [one.outcome for one in fire(schedule.next_at)] == ["started"]


def test_a_job_without_anything_to_do_says_so(schedule: Schedule) -> None:
    answers.append(Begun())
    assert fire(schedule.next_at)[0].outcome == "nothing"


# The pause and other changes


def test_a_paused_schedule_starts_nothing_and_misses_nothing(schedule: Schedule, people: make.People) -> None:
    schedule_jobs.pause(schedule, reason="migration as agreed", by=people.operator)
    assert fire(schedule.next_at + 2 * DAY) == []
    schedule_jobs.unpause(schedule, by=people.operator)
    assert fire(clock.now()) == []
    assert Schedule.objects.get().next_at == schedule.next_at
    actions = Entry.objects.filter(subject=f"schedule:{schedule.pk}").order_by("seq").values_list("action", flat=True)
    assert list(actions) == ["schedule.created", "schedule.paused", "schedule.unpaused"]


def test_a_pause_needs_a_reason_and_an_operator(schedule: Schedule, people: make.People) -> None:
    with pytest.raises(ScheduleRefused, match="Give the reason for the pause"):
        schedule_jobs.pause(schedule, reason=" ", by=people.operator)
    with pytest.raises(ScheduleRefused, match="operator"):
        schedule_jobs.pause(schedule, reason="no longer needed", by=people.reviewer)
    with pytest.raises(ScheduleRefused, match="not paused"):
        schedule_jobs.unpause(schedule, by=people.operator)


def test_a_change_counts_from_now_on_and_is_recorded(schedule: Schedule, people: make.People) -> None:
    schedule_jobs.change(schedule, expression=" */5 *  * * * ", zone="UTC", by=people.operator)
    schedule.refresh_from_db()
    assert (schedule.expression, schedule.next_at.minute % 5) == ("*/5 * * * *", 0)
    assert Entry.objects.get(action="schedule.changed").details["before"]["expression"] == "0 3 * * *"
    with pytest.raises(ScheduleRefused, match="five fields"):
        schedule_jobs.change(schedule, expression="often", zone="UTC", by=people.operator)


def test_a_cron_that_fires_every_minute_is_refused(schedule: Schedule, people: make.People) -> None:
    with pytest.raises(ScheduleRefused, match="due too often: this job takes at least 5 minutes"):
        schedule_jobs.change(schedule, expression="* * * * *", zone="UTC", by=people.operator)
    assert Schedule.objects.get().expression == "0 3 * * *"


@pytest.mark.parametrize("job", REAL.values(), ids=REAL)
def test_every_job_has_a_floor_which_its_own_due_times_keep(job: ScheduledJob) -> None:
    cron.insist_apart(job.expression, job.apart)
    for expression in ("* * * * *", "0,1 3 1 1 *", "*/4 * * * *", "59,0 * * * *"):
        with pytest.raises(cron.NotCron, match="due too often"):
            cron.insist_apart(expression, job.apart)


OFTEN = {
    "masters": "every day at 02:13",
    "clinics": "on Sunday at 02:33",
    "vault": "every day at 02:57",
    "deadlines": "every day at 08:07",
    "todos": "every day at 06:19",
}


@pytest.mark.parametrize("job", OFTEN)
def test_a_job_is_due_as_often_as_the_policy_is_said_to_be_kept(job: str) -> None:
    assert cron.words(REAL[job].expression).startswith(OFTEN[job])


# How it stands


def state() -> str:
    return next(punctuality.punctuality_of([Schedule.objects.get()])).state


def test_a_schedule_is_on_time_late_and_overdue(schedule: Schedule) -> None:
    seen = [state()]
    for day, ending in enumerate(["succeeded", "failed", "failed", "succeeded"]):
        fire(schedule.next_at + day * DAY)
        seen.append(state())
        finish(ending)
        seen.append(state())
    assert seen == ["new", "running", "ok", "running", "late", "running", "overdue", "running", "ok"]


def test_the_last_success_is_that_of_every_run(schedule: Schedule) -> None:
    fire(schedule.next_at)
    finish()
    fire(schedule.next_at + DAY)
    standing = next(punctuality.punctuality_of([schedule]))
    assert standing.succeeded is not None
    assert standing.succeeded.due_at == schedule.next_at
    assert len(standing.following) == 3


def test_a_schedule_that_nobody_fires_is_late(schedule: Schedule) -> None:
    Schedule.objects.update(next_at=clock.now() - timedelta(seconds=timing.FIRED_LATE + 1))
    assert state() == "late"


def test_due_times_below_the_floor_keep_it_when_they_fire(schedule: Schedule, people: make.People) -> None:
    now = clock.now()
    Schedule.objects.update(expression="* * * * *", next_at=now)
    fire(now)
    assert Schedule.objects.get().next_at - now > timedelta(minutes=5)
    assert len(fire(now + timedelta(minutes=2))) == 1
    page = signed_in(people.auditor).get("/schedules/").content.decode()
    assert "due too often: this job takes at least 5 minutes between two starts" in page
    assert "It starts only after that time. Change the due times." in page
