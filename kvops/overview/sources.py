"""The sources of the overview, one for each app; an app adds its own when it is ready.

A source names its questions, `lists` and `whether`, and gets the answers of all. It reads more only where an answer
says that there is something to read, so a page on which nothing waits costs few queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kvops.models import Environment, Person, Role
from kvops.overview.board import Board
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import Line
from kvops.web.gather import Gathered, Question, ask


@dataclass(frozen=True)
class Reader:
    """The person who reads the overview, and their roles."""

    person: Person
    roles: frozenset[Role]

    @property
    def may_operate(self) -> bool:
        """Whether the person is an operator."""
        return Role.OPERATOR in self.roles


@dataclass(frozen=True)
class ComingEvent:
    """Something that happens by itself, or ends, within the next 14 days; `action` is a link to do something about it.

    Events of the same time and text in several environments are one.
    """

    at: datetime
    text: str
    url: str
    environment: Environment | None = None
    action: str = ""
    action_url: str = ""


DAYS_AHEAD = 14


def _nothing(_answers: Gathered, _reader: Reader) -> list[Line]:
    return []


@dataclass(frozen=True)
class OverviewSource:
    """The questions of an app, and the parts of the page made of the answers. `as_of` is the end of a past day."""

    lists: Callable[[Reader, datetime | None], Mapping[str, Question]]
    whether: Callable[[Reader], Mapping[str, Question]]
    alarms: Callable[[Gathered, Estate], Sequence[Alarm]]
    steps: Callable[[Gathered, Reader, Estate], Sequence[Line]]
    coming: Callable[[Gathered, Estate], Sequence[ComingEvent]]
    known: Callable[[Gathered, Reader], Sequence[Line]] = field(default=_nothing)
    board: Callable[[Gathered, Estate], Board] | None = None


_SOURCES: list[OverviewSource] = []


def register(source: OverviewSource) -> OverviewSource:
    """Add the source of an app."""
    if source not in _SOURCES:
        _SOURCES.append(source)
    return source


def all_sources() -> Sequence[OverviewSource]:
    """The sources of all apps, in the order in which they were added."""
    return _SOURCES


def answers_for(reader: Reader, as_of: datetime | None) -> Gathered:
    """The answers to the questions of all sources, in one query; for a past day only to their lists."""
    lists = {name: each for source in _SOURCES for name, each in source.lists(reader, as_of).items()}
    whether = {name: each for source in _SOURCES for name, each in source.whether(reader).items()} if not as_of else {}
    return ask(lists, whether)
