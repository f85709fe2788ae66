"""The time that a run probably still takes."""

from datetime import datetime

from kvops import clock
from kvops.models import Run

ENOUGH = 0.1
"""The share of the work after which its pace tells the time left. Before, the wait for a worker counts too much."""


def seconds_left(run: Run, now: datetime | None = None) -> int | None:
    """The seconds left at the pace since the start, or since a person let the run go on.

    None while too little is done to tell. Without `now` the clock is read.
    """
    if not run.total or run.state != Run.State.RUNNING:
        return None
    before = min(run.done, run.resumed_done)  # a scan begins again
    done, total = run.done - before, run.total - before
    if done < total * ENOUGH or done in {0, total}:
        return None
    gone = (now or clock.now()) - (run.resumed_at or run.created_at)
    return max(0, round(gone.total_seconds() * (total - done) / done))
