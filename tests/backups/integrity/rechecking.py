"""A run of another kind, as the deletion is one, that compares with D1 before it goes on."""

from backups.integrity import start as check_start
from backups.models import Check, Generation
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError


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
