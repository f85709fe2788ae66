"""A run of another kind, as the deletion is one, that compares with D1 before it goes on."""

import pytest

from audit import log
from backups.integrity import start as check_start
from backups.models import Check, Generation
from kvops.models import Run
from kvops.operations import registry
from kvops.operations.parts import RunKind
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from tests import make


def work(lease: Lease) -> Again | Done | None:
    steps = lease.run.cursor.get("steps", 0) + 1
    with lease.checkpoint(cursor={**lease.run.cursor, "steps": steps}):
        pass
    check = check_start.recheck(lease, Generation.objects.get(pk=lease.run.cursor["generation"]))
    if check is None:
        return Again()
    if check.outcome != Check.Outcome.PASSED:
        raise RunError("differences", "There are differences.")
    return Done({"steps": steps})


def another_run(estate: make.Estate, monkeypatch: pytest.MonkeyPatch, cursor: dict[str, object]) -> Run:
    """A run of another kind that asks for the comparison."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.CONFIRM, RunKind(work))
    with log.transaction():
        run = run_driver.create(
            Run.Kind.CONFIRM, subject="stage:1", label="x", actor=make.SETUP, environment=estate.qa.environment
        )
    Run.objects.filter(pk=run.pk).update(cursor=cursor)
    return run
