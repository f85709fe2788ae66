"""The lines of the list of runs: the succeeded scans of a day share one."""

from dataclasses import dataclass
from datetime import date

from django.db.models import QuerySet
from django.utils import timezone

from audit.folding import folded
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
