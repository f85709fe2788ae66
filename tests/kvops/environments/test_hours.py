"""The hours in which a deletion may start, in the team's time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from kvops.environments import hours
from kvops.models import Environment

TOKYO = ZoneInfo("Asia/Tokyo")


def at(text: str) -> datetime:
    """A moment in Tokyo. 2026-11-27 is a Friday."""
    return datetime.fromisoformat(text).replace(tzinfo=TOKYO)


@pytest.mark.parametrize(
    ("allowed", "days", "now", "opens"),
    [
        ("", "", "2026-11-27 03:00", None),
        ("09:00-18:00", "", "2026-11-27 09:00", None),
        ("09:00-18:00", "", "2026-11-27 17:59", None),
        ("09:00-18:00", "", "2026-11-27 08:59", "2026-11-27 09:00"),
        ("09:00-18:00", "", "2026-11-27 18:00", "2026-11-28 09:00"),
        ("09:00-18:00", "mon,fri", "2026-11-27 18:00", "2026-11-30 09:00"),
        ("09:00-18:00", "fri", "2026-11-27 18:00", "2026-12-04 09:00"),
        ("22:00-05:00", "fri", "2026-11-28 04:59", None),
        ("22:00-05:00", "fri", "2026-11-28 05:00", "2026-12-04 22:00"),
        ("22:00-05:00", "fri", "2026-11-27 04:00", "2026-11-27 22:00"),
    ],
)
def test_a_deletion_starts_within_the_hours_or_at_the_next_ones(
    allowed: str, days: str, now: str, opens: str | None
) -> None:
    environment = Environment(hours=allowed, days=days)
    assert hours.next_opening(environment, at(now)) == (at(opens) if opens else None)
