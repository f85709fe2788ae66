"""The overview, put together from all features."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from django.utils import timezone
from django.utils.translation import gettext as _

from kvops.models import Environment, Run, Scan
from kvops.operations import registry
from kvops.overview import coming as coming_events, lines as overview_lines, status
from kvops.overview.board import Board
from kvops.overview.coming import ComingEvent
from kvops.overview.estate import Column, Estate
from kvops.overview.lines import Line, Verdict
from kvops.overview.status import Reader, SetupStep
from kvops.runbook import todo
from kvops.runbook.todo import OpenTodo
from kvops.runs import shown

EVENING, MORNING = 18, 6
"""Hours. A backup made between them is called that of last night, until the next evening."""
EVENTS = 3
"""Events. Those after them fold."""


@dataclass(frozen=True)
class RunUnderWay:
    """A run with the seconds that it probably still takes; None if that cannot be told yet."""

    run: Run
    seconds_left: int | None


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows, for one reader at one moment, or as of the end of a past day."""

    reader: Reader
    as_of: datetime | None = None
    estate: Estate = field(default_factory=Estate)

    @property
    def now(self) -> datetime:
        """The moment of the page."""
        return self.estate.now

    @property
    def columns(self) -> Sequence[Column]:
        """Every environment with its namespaces."""
        return self.estate.columns

    @cached_property
    def board(self) -> Board:
        """The table of the families."""
        return next((board(self.estate, self.as_of) for board in registry.BOARDS), Board((), ()))

    @cached_property
    def _odd_scans(self) -> Sequence[Scan]:
        return status.odd_scans()

    @cached_property
    def _todos(self) -> Sequence[OpenTodo]:
        return todo.open_todos()

    @cached_property
    def lines(self) -> Sequence[Line]:
        """The alarms and the steps, the worst first."""
        of_features = [alarm for alarms in registry.ALARMS for alarm in alarms(self.estate)]
        alarms = [*status.alarms(self.estate, self._odd_scans), *self.board.alarms, *of_features]
        steps = status.steps(self.reader, self._todos, self.now)
        if self.reader.may_operate:
            steps += [line for steps_of in registry.STEPS for line in steps_of(self.reader.person)]
        return overview_lines.in_order([*steps, *overview_lines.from_alarms(alarms)])

    @property
    def shown(self) -> Sequence[Line]:
        """The lines that do not fold: the worst ones, and the first of the person's own steps."""
        return self._folded[0]

    @property
    def more(self) -> Sequence[Line]:
        """The lines that fold."""
        return self._folded[1]

    @cached_property
    def _folded(self) -> tuple[Sequence[Line], Sequence[Line]]:
        return overview_lines.folded(self.lines)

    @property
    def more_red(self) -> int:
        """The problems among the lines that fold."""
        return sum(line.urgency == overview_lines.Urgency.RED for line in self.more)

    @cached_property
    def known(self) -> Sequence[Line]:
        """The findings that a person has noted or looks into."""
        return [*status.acknowledged(self._odd_scans), *status.attended(self._todos, self.now)]

    @cached_property
    def events(self) -> Sequence[tuple[ComingEvent, Sequence[Environment]]]:
        """The events of the next 14 days."""
        return coming_events.in_order([*coming_events.coming(), *self.board.coming])

    @property
    def next_events(self) -> Sequence[tuple[ComingEvent, Sequence[Environment]]]:
        """The first events."""
        return self.events[:EVENTS]

    @property
    def later_events(self) -> Sequence[tuple[ComingEvent, Sequence[Environment]]]:
        """The events that fold."""
        return self.events[EVENTS:]

    @cached_property
    def running(self) -> Sequence[RunUnderWay]:
        """The work under way."""
        return under_way(status.running()[: status.SHOWN], self.now)

    @cached_property
    def first_steps(self) -> Sequence[SetupStep]:
        """The steps of setting up that are left."""
        return status.first_steps(self.estate)

    @property
    def oldest(self) -> str:
        """The time to which even the family with the oldest backup can be restored, in words; empty for none."""
        return in_words(self.board.oldest, self.now) if self.board.oldest else ""

    @cached_property
    def verdict(self) -> Verdict:
        """The first sentence."""
        return overview_lines.verdict(
            self.lines,
            restorable=len(self.board.restorable),
            families=len(self.board.expected),
            oldest=self.oldest,
            may_operate=self.reader.may_operate,
        )

    @property
    def counted(self) -> Column | None:
        """The environment whose keys are counted in the first line: production, else the last one."""
        columns = [column for column in self.columns if column.holdings]
        return next((one for one in columns if one.environment.production), columns[-1] if columns else None)


def under_way(runs: Iterable[Run], now: datetime) -> Sequence[RunUnderWay]:
    """The runs with the time they probably still take, by their progress so far."""
    return [RunUnderWay(run, shown.seconds_left(run, now)) for run in runs]


def in_words(at: datetime, now: datetime) -> str:
    """A time of a backup in a sentence: last night, today or a date."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    clock = f"{local:%H:%M}"
    yesterday = today.date() - timedelta(days=1)
    night = (local.date() == today.date() and local.hour < MORNING) or (
        local.date() == yesterday and local.hour >= EVENING
    )
    if night:
        return _("last night, %(time)s") % {"time": clock}
    if local.date() == today.date():
        return _("today, %(time)s") % {"time": clock}
    return f"{local:%Y-%m-%d %H:%M}"
