"""A run that waits for a service is told after a quarter of an hour, once for an outage and environment."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models import F

from audit import log
from kvops import timing
from kvops.cloudflare import RateLimited
from kvops.models import Notification, Run
from kvops.operations import registry
from kvops.operations.parts import RunKind
from kvops.runs import driver as run_driver, waiting
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, TryLater
from tests import make

pytestmark = pytest.mark.django_db

outcomes: list[Exception | Again | Done] = []


def work_a_step(lease: Lease) -> Again | Done:
    """What the product calls for a scan in these tests."""
    outcome = outcomes.pop(0)
    if isinstance(outcome, Exception):
        raise outcome
    with lease.checkpoint(done=1):
        pass
    return outcome


@pytest.fixture(autouse=True)
def _our_own_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry.RUNS, Run.Kind.SCAN, RunKind(work_a_step))
    yield
    outcomes.clear()


def a_run(estate: make.Estate, name: str = "1") -> Run:
    with log.transaction():
        return run_driver.create(
            Run.Kind.SCAN,
            subject=f"namespace:{name}",
            label="qa/SETTINGS",
            actor=make.SETUP,
            environment=estate.qa.environment,
        )


def a_step(run: Run, outcome: Exception | Again | Done) -> None:
    outcomes.append(outcome)
    Run.objects.filter(pk=run.pk).update(wake_at=None)
    run_driver.drive(run.pk)
    run.refresh_from_db()


def later(seconds: float = timing.WAITING_TOLD + 1) -> None:
    """So much time passes."""
    ago = timedelta(seconds=seconds)
    Run.objects.update(waiting_since=F("waiting_since") - ago)
    Notification.objects.update(created_at=F("created_at") - ago)


def told() -> list[str]:
    """What an operator was sent."""
    waiting.tell()
    mine = Notification.objects.filter(person__email="operator@example.com")
    return list(mine.order_by("pk").values_list("title", flat=True))


DOWN = TryLater("R2 does not answer.")
LIMITED = RateLimited("Cloudflare limits our requests (429).", retry_after=300.0)


@pytest.mark.parametrize("error", [DOWN, LIMITED])
def test_a_run_that_waits_is_told_after_a_quarter_of_an_hour_and_once(
    people: make.People, estate: make.Estate, error: Exception
) -> None:
    run = a_run(estate)
    a_step(run, error)
    assert told() == []
    later()
    a_step(run, error)
    assert told() == ["1 run in QA waits for a service"]
    later()
    assert told() == ["1 run in QA waits for a service"]
    assert "scan qa/SETTINGS, without progress since" in Notification.objects.all()[0].lines[0]


def test_runs_that_wait_together_are_one_message(people: make.People, estate: make.Estate) -> None:
    for name in ("1", "2"):
        a_step(a_run(estate, name), DOWN)
    later()
    assert told() == ["2 runs in QA wait for a service"]


def test_progress_ends_the_wait_and_another_wait_is_told_again(people: make.People, estate: make.Estate) -> None:
    run = a_run(estate)
    a_step(run, DOWN)
    later()
    told()
    a_step(run, Again(wait=0.1))
    assert run.waiting_since is None
    a_step(run, DOWN)
    assert len(told()) == 1
    later(timing.WAITING_TOLD + 60)
    assert len(told()) == 2


def test_a_planned_wait_is_none(people: make.People, estate: make.Estate) -> None:
    run = a_run(estate)
    a_step(run, Again(wait=100.0))
    assert run.waiting_since is None
