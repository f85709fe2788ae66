"""The time stamp of a row of D1: later than the move to D1, or not."""

from datetime import UTC, datetime

import pytest

from backups.datasets.newer import NewerBy
from kvops.cloudflare import Cell

DEFINITION = {
    "migrated_at": {"qa": "2025-09-01T00:00:00+09:00"},
    "newer_by": {"qa": ["updated_at", "time_seconds", "Asia/Tokyo"]},
}
MOVE = datetime(2025, 8, 31, 15, tzinfo=UTC)


def newer_by(kind: str = "time") -> NewerBy:
    return NewerBy("updated_at", kind, "Asia/Tokyo", MOVE)


def test_a_definition_speaks_for_the_environments_that_it_names() -> None:
    assert NewerBy.of(DEFINITION, "qa") == newer_by("time_seconds")
    assert NewerBy.of(DEFINITION, "production") is None
    assert NewerBy.of({}, "qa") is None


@pytest.mark.parametrize("text", ["2025-09-01T00:00:01", "2025-09-01 00:00:01", "2025-08-31T15:00:01Z"])
def test_a_text_without_a_zone_is_in_the_zone_of_the_dataset(text: str) -> None:
    assert newer_by().newer("t", text) == datetime(2025, 8, 31, 15, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("n", None),
        ("t", ""),
        ("t", "2025-09-02"),
        ("t", "tomorrow at noon"),
        ("t", "2025-09-01T00:00:00"),
        ("t", "2025-08-31T14:59:59Z"),
        ("i", "1756652401"),
        ("b", [1, 2]),
    ],
)
def test_null_a_date_the_moment_of_the_move_and_what_is_no_time_are_not_newer(kind: str, value: Cell) -> None:
    assert newer_by().newer(kind, value) is None


def test_a_number_counts_the_unit_that_the_dataset_names() -> None:
    assert newer_by("time_seconds").newer("i", "1756652401") == datetime(2025, 8, 31, 15, 0, 1, tzinfo=UTC)
    assert newer_by("time_milliseconds").newer("i", "1756652401") is None
    assert newer_by("time_seconds").newer("i", "9" * 18) is None
