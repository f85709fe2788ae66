"""The source of the overview for backups and clean-ups: its questions, and the use of the answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef
from django.db.models.functions import Now, TruncDate
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _, ngettext

from backups.integrity import cases as difference_cases
from backups.models import CleanupStage, Generation, Pin
from backups.overview import alarms as backup_alarms, families, steps
from backups.rotation import ages as value_ages
from backups.rotation.ages import RotationState
from kvops.overview.estate import Estate
from kvops.overview.lines import Line, Urgency
from kvops.overview.sources import DAYS_AHEAD, ComingEvent, OverviewSource, Reader, register
from kvops.prefixes import patterns
from kvops.runbook import todo
from kvops.web.gather import Gathered, Question, Row, moment

AHEAD = timedelta(days=DAYS_AHEAD)
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
        "going": _going(),
    }


def _whether(reader: Reader) -> Mapping[str, Question]:
    return {**backup_alarms.questions(), **steps.questions(reader)}


def _going() -> Question:
    """The backups whose minimum time ends within the next 14 days, by day and prefixes.

    The newest verified backup of its kind is left out, and so is one that a pin or a clean-up holds.
    """
    newest = families.newest_of_each()
    held = Pin.objects.in_force().filter(generation=OuterRef("pk"))
    needed = CleanupStage.objects.filter(generation=OuterRef("pk")).exclude(state=CleanupStage.State.ENDED)
    found = Generation.objects.there().exclude(purpose=Generation.Purpose.INVESTIGATION)
    going = found.filter(~Exists(held), ~Exists(needed), retain_until__range=(Now(), Now() + AHEAD))
    of_days = going.exclude(pk__in=newest).order_by().values("environment_id", "prefixes", "exact")
    of_days = of_days.annotate(day=TruncDate("retain_until"), n=Count("pk"), at=Min("retain_until"), first=Min("pk"))
    return of_days.values_list("day", "environment_id", "prefixes", "exact", "n", "at", "first")


def _coming(answers: Gathered, estate: Estate) -> Sequence[ComingEvent]:
    """The days until which backups are kept at least, and on which values are due for rotation."""
    return [*_ending(answers, estate), *(_rotations(answers) if "rotation" in answers else ())]


def _ending(answers: Gathered, estate: Estate) -> Iterator[ComingEvent]:
    """One event for each day and environment."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in answers["going"]:
        found.setdefault((row[0], row[1]), []).append(row)
    for (_day, environment), rows in found.items():
        n, at = sum(row[4] for row in rows), moment(min(row[5] for row in rows))
        names = dict.fromkeys(name for row in rows for name in patterns(row[2], exact=row[3]))
        text = ngettext(
            "%(n)s backup of %(what)s is kept at least until then",
            "%(n)s backups of %(what)s are kept at least until then",
            n,
        )
        what = ", ".join(list(names)[:NAMED]) + (f" +{len(names) - NAMED}" if len(names) > NAMED else "")
        of = estate.environments[environment]
        url = f"{reverse('backups:retention')}?environment={of.slug}&state=waiting"
        pin = reverse("backups:generation_pin", args=[rows[0][6]]) if n == 1 else url
        if at:
            yield ComingEvent(at, text % {"n": n, "what": what}, url, of, _("Pin") if n == 1 else _("Pin some"), pin)


def _rotations(answers: Gathered) -> Iterator[ComingEvent]:
    """One event for each day and environment with values that are due."""
    found: dict[object, list[value_ages.ValueAge]] = {}
    for one in answers.once("rotation", value_ages.ruled):
        if one.state == RotationState.DUE and one.due_at:
            found.setdefault((timezone.localdate(one.due_at), one.environment.pk), []).append(one)
    for values in found.values():
        text = ngettext("%(n)s value is due for rotation", "%(n)s values are due for rotation", len(values))
        url = f"{reverse('backups:rotation')}?state={RotationState.DUE}"
        if values[0].due_at:
            yield ComingEvent(values[0].due_at, text % {"n": len(values)}, url, values[0].environment)


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
