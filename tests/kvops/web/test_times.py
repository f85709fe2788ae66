"""A moment in words."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation

from kvops.templatetags import ui

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"), (-59, "just now"), (59, "in less than a minute"), (-60, "1 minute ago"),
        (-3599, "59 minutes ago"), (3600, "in 1 hour"), (-47 * 3600, "47 hours ago"), (48 * 3600, "in 2 days"),
        (-7 * 86400 + 1, "6 days ago"), (-7 * 86400, ""), (7 * 86400, ""),
    ],
)  # fmt: skip
def test_the_distance_from_now_is_rounded_down_and_ends_with_a_week(seconds: int, said: str) -> None:
    assert ui.distance(NOW + timedelta(seconds=seconds), NOW) == said


def test_it_is_in_the_language_of_the_page() -> None:
    with translation.override("ja"):
        assert ui.distance(NOW - timedelta(hours=3), NOW) == "3\xa0時間前"
        assert ui.distance(NOW + timedelta(days=2), NOW) == "2\xa0日後"
