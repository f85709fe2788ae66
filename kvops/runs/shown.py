"""The lines of the list of runs: the succeeded scans of a day share one."""

from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import QuerySet
from django.utils import timezone

from audit.folding import folded
from kvops import clock
from kvops.models import Run

READ = 500
"""Runs. A page reads at most so many, however many of them are folded into one line."""


@dataclass(frozen=True)
class RunLine:
    """One line of the list: a run, or the succeeded scans of a day, newest first."""

    runs: list[Run]

    @property
    def run(self) -> Run:
        """The run, or the newest scan of the day."""
        return self.runs[0]

    @property
    def day(self) -> date:
        """The day of the run or of the scans."""
        return _day(self.run)

    @property
    def many(self) -> bool:
        """Whether the line stands for several runs."""
        return len(self.runs) > 1

    @property
    def environments(self) -> list[str]:
        """The names of the environments, each once."""
        return list(dict.fromkeys(run.environment.name for run in self.runs if run.environment))


def lines_of(found: QuerySet[Run], size: int, *, fold: bool) -> tuple[list[RunLine], int | None]:
    """The lines of one page, and the number of its last run if more runs follow.

    With `fold` the succeeded scans of a day share a line, so that a page covers days instead of hours.
    """
    runs = list(found.defer("cursor")[: READ if fold else size + 1])
    lines, last, left = folded(runs, size, _scans_of_a_day if fold else lambda _run: None)
    more = last is not None and (left or len(runs) == READ)
    return [RunLine(line.rows) for line in lines], last.pk if last and more else None


def _scans_of_a_day(run: Run) -> date | None:
    quiet = run.kind == Run.Kind.SCAN and run.state == Run.State.SUCCEEDED
    return _day(run) if quiet else None


def _day(run: Run) -> date:
    return timezone.localdate(run.created_at)


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
