"""The source of the overview for backups and clean-ups: its questions, and the use of the answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, ngettext

from backups.integrity import cases as difference_cases
from backups.models import Generation
from backups.overview import alarms as backup_alarms, families, steps
from backups.retention import ahead as retention_ahead
from backups.retention.forms import SOON
from kvops.models import Environment
from kvops.overview.estate import Estate
from kvops.overview.lines import Line, Urgency
from kvops.overview.sources import ComingEvent, OverviewSource, Reader, register
from kvops.runbook import todo
from kvops.web.gather import Gathered, Question

NAMED = 2
"""Prefixes. An event names at most this many."""
SHOWN = 20
"""Cases. The overview lists at most this many."""


def _lists(_reader: Reader, as_of: datetime | None) -> Mapping[str, Question]:
    if as_of:
        return families.questions(as_of)
    return {
        **families.questions(None),
        **backup_alarms.lists(),
        "drills": steps.drills(),
        "passed_drills": steps.passed_drills(),
        **retention_ahead.questions(),
    }


def _whether(reader: Reader) -> Mapping[str, Question]:
    return {**backup_alarms.questions(), **steps.questions(reader)}


def _coming(answers: Gathered, estate: Estate) -> Sequence[ComingEvent]:
    """The days from which backups can be deleted."""
    return list(_going(answers, estate))


def _going(answers: Gathered, estate: Estate) -> Iterator[ComingEvent]:
    """One event for each day and environment, and one if there are more backups than were decided on."""
    second = families.second(answers, estate)
    found: dict[tuple[date, int], list[tuple[datetime, Generation]]] = {}
    for kept in retention_ahead.kept_until_soon(answers, second, estate.families, families.AHEAD):
        if at := kept.verdict.due_at:
            day = (timezone.localdate(at), kept.generation.environment_id)
            found.setdefault(day, []).append((at, kept.generation))
    for (_day, environment), of_day in found.items():
        yield _deletable(estate.environments[environment], of_day)
    if len(second["going"]) == retention_ahead.MOST:
        text = _("More backups than these can be deleted by then")
        yield ComingEvent(answers.now + families.AHEAD, text, f"{reverse('backups:retention')}?state={SOON}")


def _deletable(environment: Environment, of_day: Sequence[tuple[datetime, Generation]]) -> ComingEvent:
    n = len(of_day)
    names = list(dict.fromkeys(name for _at, one in of_day for name in one.shown_prefixes))
    text = ngettext(
        "%(n)s backup of %(what)s can be deleted from then",
        "%(n)s backups of %(what)s can be deleted from then",
        n,
    )
    what = ", ".join(names[:NAMED]) + (f" +{len(names) - NAMED}" if len(names) > NAMED else "")
    url = f"{reverse('backups:retention')}?environment={environment.slug}&state={SOON}"
    pin = reverse("backups:generation_pin", args=[of_day[0][1].pk]) if n == 1 else url
    at = min(at for at, _one in of_day)
    return ComingEvent(at, text % {"n": n, "what": what}, url, environment, _("Pin") if n == 1 else _("Pin some"), pin)


def _known(answers: Gathered, _reader: Reader) -> list[Line]:
    """The differences with D1 that a person looks into in time."""
    if "cases_open" not in answers:
        return []
    found = []
    for todo_ in difference_cases.as_todos():
        if todo_.due >= todo.today():
            places = [(todo_.environment, todo_.address)] if todo_.environment else []
            text = _("%(name)s, until %(due)s") % {"name": todo_.owner.name, "due": todo_.due}
            found.append(Line(Urgency.KNOWN, todo_.title, text, todo_.address, _("See details"), places))
    return found[:SHOWN]


SOURCE = register(
    OverviewSource(_lists, _whether, backup_alarms.alarms, steps.steps, _coming, _known, board=families.board)
)
