"""Bars over days as SVG, drawn on the server, with a table of the same figures: `{% load chart %}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django import template

from kvops.templatetags.ui import bytes_, count
from kvops.web.ranges import DaySeries, Period

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
def range_picker(context: template.Context, period: Period | None) -> dict[str, object]:
    """Links to the last 30, 90 and 365 days of a chart."""
    return {"request": context["request"], "period": period, "choices": Period.CHOICES}


@register.inclusion_tag("includes/chart.html")
def bars(title: str, period: Period, series: Sequence[DaySeries], name: str, unit: str = "") -> dict[str, object]:
    """Stacked bars of the series; `unit` is `bytes` for sizes. A size is that of the last day of a week."""
    shown = bytes_ if unit == "bytes" else count
    starts = _starts(period)
    rows = [(start, [_of(each, start, upto, last=unit == "bytes") for each in series]) for start, upto in starts]
    most = max([*(sum(numbers) for _start, numbers in rows), 1])
    base = HEIGHT - BOTTOM
    step = (WIDTH - LEFT) / len(rows)
    drawn = []
    for at, (start, numbers) in enumerate(rows):
        y = float(base)
        for number, mark, each in zip(numbers, MARKS, series, strict=False):
            height = (base - TOP) * number / most
            y -= height
            if number:
                text = f"{start} {each.title}: {shown(number)}"
                drawn.append(
                    ChartBar(
                        round(LEFT + step * at, 1), round(y, 1), round(step * 0.8, 1), round(height, 1), mark, text
                    )
                )
    every = max(1, len(rows) // TICKS)
    return {
        "name": name,
        "title": title,
        "period": period,
        "bars": drawn,
        "series": [(each.title, mark) for each, mark in zip(series, MARKS, strict=False)],
        "rows": [(start, [shown(number) for number in numbers]) for start, numbers in reversed(rows) if any(numbers)],
        "ticks": [
            (round(LEFT + step * (at + 0.4), 1), start) for at, (start, _n) in enumerate(rows) if at % every == 0
        ],
        "levels": [(float(base), shown(0)), (float(TOP), shown(most))],
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "base": base,
        "weeks": period.days > MOST_BARS,
    }


def _starts(period: Period) -> list[tuple[date, date]]:
    """The first day of each bar and the day after its last."""
    length = 7 if period.days > MOST_BARS else 1
    found, at = [], period.since
    while at <= period.until:
        found.append((at, at + timedelta(days=length)))
        at += timedelta(days=length)
    return found


def _of(series: DaySeries, start: date, upto: date, *, last: bool) -> int:
    numbers = [series.by_day.get(start + timedelta(days=at), 0) for at in range((upto - start).days)]
    return next((number for number in reversed(numbers) if number), 0) if last else sum(numbers)
