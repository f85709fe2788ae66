"""Derives the approved evidence again: before work begins, after every resume or pause, and every quarter of an hour.

The policy, the rules and the evidence of earlier environments are checked before each chunk. If the digest differs,
the approval no longer fits and the run ends.
"""

from collections.abc import Callable
from datetime import datetime

from audit import log
from kvops import clock, timing
from kvops.models import Run
from kvops.runs.lease import Lease

BEFORE = {"derived_at", "looked", "starts", "tries"}
"""What a cursor says of the time before a person resumed the run."""

TRIES = 3


def derived(lease: Lease, derive: Callable[[], None]) -> None:
    """Derive it, unless that was done at most a quarter of an hour ago and nobody resumed the run since.

    `derive` raises RunError when what was approved is no longer what there is.
    """
    cursor = lease.run.cursor
    at = cursor.get("derived_at")
    if at and (clock.now() - datetime.fromisoformat(at)).total_seconds() <= timing.CHECK_PAUSE:
        return
    derive()
    with lease.checkpoint(no_further=True, cursor={**cursor, "derived_at": clock.now().isoformat()}):
        pass


def revalidate(run: Run, _actor: log.Actor) -> None:
    """Hook of a resumed run."""
    forget(run)


def forget(run: Run) -> None:
    """What was derived, looked at and tried before counts no more."""
    stopped = Run.objects.get(pk=run.pk)
    cursor = {name: value for name, value in stopped.cursor.items() if name not in BEFORE}
    Run.objects.filter(pk=run.pk, epoch=stopped.epoch, state=Run.State.QUEUED).update(cursor=cursor)


def patience(attempt: int | None, *, ending: bool = False) -> float:
    """Seconds from a change to the look at what became of it; where no other try follows, no old state may pass for it.

    `attempt`: None when nothing was sent; `ending`: a person ended the run, so that no other try follows.
    """
    last = ending or (attempt is not None and attempt >= TRIES)
    return max(timing.SETTLE, timing.STALE) if last else timing.SETTLE
