"""Charts over days: their period, their bars, and the same figures as a table."""

from datetime import date, timedelta
from typing import Any

from django.template.loader import render_to_string

from kvops.templatetags.chart import bars
from kvops.web.ranges import DaySeries, Period

TODAY = date(2026, 11, 30)


def drawn(days: int, numbers: dict[date, int], unit: str = "") -> dict[str, Any]:
    return bars("Runs", Period(days, TODAY), [DaySeries("all", numbers)], "runs", unit)


def test_a_period_includes_its_first_and_its_last_day() -> None:
    assert Period(30, TODAY).since == date(2026, 11, 1)


def test_each_day_has_a_bar_and_a_row() -> None:
    found = drawn(30, {TODAY: 4, date(2026, 11, 1): 2, date(2026, 10, 31): 9})
    assert [(bar.height, bar.text) for bar in found["bars"]] == [
        (68.0, "2026-11-01 all: 2"),
        (136.0, "2026-11-30 all: 4"),
    ]
    assert found["rows"] == [(TODAY, [("all", "4")]), (date(2026, 11, 1), [("all", "2")])]


def test_a_year_has_a_bar_for_each_week() -> None:
    numbers = {TODAY - timedelta(days=at): 1 for at in range(365)}
    found = drawn(365, numbers)
    assert len(found["bars"]) == 53
    assert {row[1][0][1] for row in found["rows"]} == {"7", "1"}


def test_a_week_of_sizes_has_that_of_its_last_day() -> None:
    numbers = {TODAY - timedelta(days=at): 365 - at for at in range(365)}
    assert drawn(365, numbers, "state")["rows"][0] == (TODAY, [("all", "365")])


def test_a_period_without_anything_says_so() -> None:
    assert "Nothing in this period" in render_to_string("includes/chart.html", drawn(30, {}))
