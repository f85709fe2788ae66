"""Charts of the history as SVG, drawn on the server: `{% load charts %}`. Beside each stands a table of its figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from math import log1p

from django import template
from django.utils.translation import gettext as _

from backups.history.events import DayCount, Point, Scope, TimelineLane
from kvops.models import Environment
from kvops.templatetags.ui import bytes_, count
from kvops.web.ranges import Period
from kvops.wording import STEPS, labelled

register = template.Library()

WIDTH, LEFT, RIGHT = 960, 130, 20
LANE = 34
HEIGHT, TOP, BOTTOM = 180, 14, 30
TICKS = 6
FEWEST_DAYS, FEWEST_WEEKS = 120, 840
"""Days. Up to the first number each day has a mark, up to the second each week; beyond that each month."""


@dataclass(frozen=True)
class ChartMark:
    """The events of one line in one day, week or month."""

    x: float
    y: float
    r: float
    lane: TimelineLane
    day: date
    events: int


@dataclass(frozen=True)
class Tick:
    """A label on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class ChartLine:
    """The curve of one environment."""

    name: str
    production: bool
    points: str
    dots: Sequence[tuple[float, float, str]]


@register.inclusion_tag("history/timeline.html")
def timeline(scope: Scope, counts: Sequence[DayCount]) -> dict[str, object]:
    """The events of backups over time, one line per kind; a larger mark stands for more events."""
    lanes = list(TimelineLane)
    bucket = _bucket(scope)
    ordered = sorted(counts, key=lambda each: (each.lane, bucket(each.day)))
    marks = []
    for (lane, day), group in groupby(ordered, key=lambda each: (each.lane, bucket(each.day))):
        events = sum(each.events for each in group)
        at = TOP + LANE * (lanes.index(lane) + 0.5)
        marks.append(ChartMark(_x(scope, day), at, round(min(13.0, 4 + 2.2 * log1p(events - 1)), 1), lane, day, events))
    totals = {lane: sum(each.events for each in counts if each.lane == lane) for lane in lanes}
    height = TOP + LANE * len(lanes)
    return {
        "scope": scope,
        "marks": marks,
        "lanes": [(lane, TOP + LANE * (at + 0.5), totals[lane]) for at, lane in enumerate(lanes)],
        "ticks": _days(scope),
        "width": WIDTH,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": height,
        "height": height + BOTTOM,
    }


@register.inclusion_tag("history/trend.html")
def trend(scope: Scope, points: Sequence[Point], what: str) -> dict[str, object]:
    """The `keys` or `bytes` of the backups over time, one curve for each environment."""
    value: Callable[[Point], int] = (lambda each: each.generation.keys) if what == "keys" else _bytes_of
    title = _("Keys in the backups") if what == "keys" else _("Size of the backups")
    found = [(each.generation.environment, each.day, value(each)) for each in points]
    return _curves(scope, found, what, title, count if what == "keys" else bytes_)


@register.inclusion_tag("history/trend.html")
def expiry_trend(points: Sequence[tuple[Environment, date, int]], period: Period) -> dict[str, object]:
    """The keys without an expiration over the period, one curve per environment."""
    return _curves(
        Scope(since=period.since, until=period.until), points, "expiry", _("Keys without an expiration"), count
    )


def _curves(
    scope: Scope,
    points: Sequence[tuple[Environment, date, int]],
    what: str,
    title: str,
    shown: Callable[[int], str],
) -> dict[str, object]:
    """One curve for each environment, with the figures of the days."""
    most = max([*(number for *__, number in points), 1])
    base = HEIGHT - BOTTOM

    def y(number: int) -> float:
        return round(base - (base - TOP) * number / most, 1)

    lines = []
    for environment in dict.fromkeys(each for each, *__ in points):
        mine = [(day, number) for each, day, number in points if each == environment]
        dots = [(_x(scope, day), y(number), labelled(day, shown(number))) for day, number in mine]
        path = " ".join(f"{x},{at}" for x, at, __ in dots)
        lines.append(ChartLine(environment.name, environment.production, path, dots))
    return {
        "what": what,
        "title": title,
        "lines": lines,
        "ticks": _days(scope),
        "levels": [Tick(y(number), shown(number)) for number in sorted({0, most // 2, most})],
        "width": WIDTH,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": base,
        "height": HEIGHT,
    }


def _bytes_of(point: Point) -> int:
    """The size as drawn. Of an encrypted backup it is the step, so that no curve tells the length of a value."""
    size = point.generation.bytes
    if not point.generation.encrypted:
        return size
    return next((step for step in STEPS if size <= step), max(STEPS))


def _x(scope: Scope, day: date) -> float:
    span = max(1, (scope.until - scope.since).days)
    at = min(max((day - scope.since).days, 0), span)
    return round(LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * at / span, 1)


def _bucket(scope: Scope) -> Callable[[date], date]:
    days = (scope.until - scope.since).days
    if days <= FEWEST_DAYS:
        return lambda day: day
    if days <= FEWEST_WEEKS:
        return lambda day: day - timedelta(days=day.weekday())
    return lambda day: day.replace(day=1)


def _days(scope: Scope) -> list[Tick]:
    span = max(1, (scope.until - scope.since).days)
    steps = min(TICKS, span)
    days = [scope.since + timedelta(days=round(span * step / steps)) for step in range(steps + 1)]
    return [Tick(_x(scope, day), day.isoformat() if span > FEWEST_WEEKS else f"{day:%m-%d}") for day in days]
