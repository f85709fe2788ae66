"""Bars over days as SVG, drawn on the server, with a table of the same figures: `{% load chart %}`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle

from django import template

from kvops.templatetags.ui import count
from kvops.web.ranges import DaySeries, Period
from kvops.wording import labelled

register = template.Library()

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 180, 110, 14, 30
TICKS = 6
MOST_BARS = 120
"""Days. Up to this many each day has a bar, beyond that each week."""
MARKS = ("taken", "verified", "restored", "pinned")
"""The classes of the series, in their order."""


@dataclass(frozen=True)
class ChartBar:
    """One rectangle: a series in a day or a week."""

    x: float
    y: float
    width: float
    height: float
    mark: str
    text: str


@register.inclusion_tag("includes/range.html", takes_context=True)
def range_picker(context: template.Context, period: Period | None, at: str = "") -> dict[str, object]:
    """Links to the last 30, 90 and 365 days of a chart; `at` is the id of its heading, if it is far down the page."""
    request = context["request"]
    asked = request.GET.get("days", "")
    wrong = bool(asked) and asked not in map(str, Period.CHOICES)
    return {"request": request, "period": period, "choices": Period.CHOICES, "wrong": wrong, "at": at}


@register.inclusion_tag("includes/chart.html")
def bars(title: str, period: Period, series: Sequence[DaySeries], name: str, unit: str = "") -> dict[str, object]:
    """Stacked bars of the series. They count events, or with the unit `state` things: a week has those of its end."""
    starts = _starts(period)
    rows = [(start, [_of(each, start, upto, last=bool(unit)) for each in series]) for start, upto in starts]
    most = max([*(sum(numbers) for _start, numbers in rows), 1])
    base = HEIGHT - BOTTOM
    step = (WIDTH - LEFT) / len(rows)
    scale = (base - TOP) / most
    marks = [(str(each.title), mark) for each, mark in zip(series, cycle(MARKS), strict=False)]
    every = max(1, len(rows) // TICKS)
    return {
        "name": name,
        "title": title,
        "period": period,
        "bars": [
            bar
            for at, (start, numbers) in enumerate(rows)
            for bar in _stack(
                at * step,
                step,
                start,
                [(*mark, number * scale, count(number)) for mark, number in zip(marks, numbers, strict=True)],
            )
        ],
        "series": marks,
        "rows": [
            (start, [(each.title, count(number)) for each, number in zip(series, numbers, strict=True)])
            for start, numbers in reversed(rows)
            if any(numbers)
        ],
        "ticks": [
            (round(LEFT + step * (at + 0.4), 1), start) for at, (start, _n) in enumerate(rows) if at % every == 0
        ],
        "levels": [(float(base), count(0)), (float(TOP), count(most))],
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "base": base,
        "weeks": period.days > MOST_BARS,
    }


def _stack(x: float, step: float, start: date, parts: Sequence[tuple[str, str, float, str]]) -> Iterator[ChartBar]:
    """The rectangles of one day or week, from the base up: title, class, height and figure of each series."""
    y = float(HEIGHT - BOTTOM)
    for title, mark, height, text in parts:
        y -= height
        if height:
            place = (round(LEFT + x, 1), round(y, 1), round(step * 0.8, 1), round(height, 1))
            yield ChartBar(*place, mark, labelled(f"{start} {title}", text))


def _starts(period: Period) -> list[tuple[date, date]]:
    """The first day of each bar and the day after its last."""
    length = 7 if period.days > MOST_BARS else 1
    found, at = [], period.since
    while at <= period.until:
        found.append((at, at + timedelta(days=length)))
        at += timedelta(days=length)
    return found


def _of(series: DaySeries, start: date, upto: date, *, last: bool) -> int:
    days = (start + timedelta(days=at) for at in range((upto - start).days))
    numbers = [series.by_day[day] for day in days if day in series.by_day]
    return numbers[-1] if last and numbers else sum(numbers)
