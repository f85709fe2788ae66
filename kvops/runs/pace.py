"""The time that a run probably still takes."""

from datetime import datetime

from kvops import clock
from kvops.models import Run

ENOUGH = 0.1
"""The share of the work after which its pace tells the time left. Before, the wait for a worker counts too much."""


def seconds_left(run: Run, now: datetime | None = None) -> int | None:
    """The seconds left at the pace so far; None while too little is done to tell. Without `now` the clock is read."""
    if not run.total or run.done < run.total * ENOUGH or run.done >= run.total or run.state != Run.State.RUNNING:
        return None
    gone = (now or clock.now()) - run.created_at
    return max(0, round(gone.total_seconds() * (run.total - run.done) / run.done))
