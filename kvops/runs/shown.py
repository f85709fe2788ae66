"""The lines of the list of runs: the succeeded scans of a day share one."""

from dataclasses import dataclass, field
from datetime import date

from django.db.models import QuerySet
from django.utils import timezone

from kvops.models import Run

READ = 500
"""Runs. A page reads at most so many, however many of them are folded into one line."""


@dataclass
class RunLine:
    """One line of the list: a run, or the succeeded scans of a day, newest first."""

    day: date
    runs: list[Run] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """The run, or the newest scan of the day."""
        return self.runs[0]

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
    runs = list(found.defer("cursor")[: (READ if fold else size) + 1])
    lines: list[RunLine] = []
    scans: dict[date, RunLine] = {}
    last: int | None = None
    for run in runs:
        day = timezone.localdate(run.created_at)
        quiet = fold and run.kind == Run.Kind.SCAN and run.state == Run.State.SUCCEEDED
        line = scans.get(day) if quiet else None
        if line is None:
            if len(lines) == size:
                return lines, last
            line = RunLine(day)
            lines.append(line)
            if quiet:
                scans[day] = line
        line.runs.append(run)
        last = run.pk
    return lines, last if len(runs) > READ else None
