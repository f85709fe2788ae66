"""The time that a run probably still takes."""

from datetime import UTC, datetime, timedelta

import pytest

from kvops.models import Run
from kvops.runs import shown

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "done", "left"),
    [
        ("running", 250, 180),
        ("running", 100, 540),
        ("running", 99, None),
        ("running", 0, None),
        ("running", 1000, None),
        ("queued", 250, None),
    ],
)
def test_the_pace_tells_the_time_left_once_enough_is_done(state: str, done: int, left: int | None) -> None:
    run = Run(state=state, done=done, total=1000, created_at=NOW - timedelta(seconds=60))
    assert shown.seconds_left(run, NOW) == left


@pytest.mark.parametrize(("done", "left"), [(100, None), (189, None), (190, 540), (550, 60), (40, None)])
def test_the_pace_is_that_since_a_person_let_the_run_go_on(done: int, left: int | None) -> None:
    hours, minute = NOW - timedelta(hours=9), NOW - timedelta(seconds=60)
    run = Run(state="running", done=done, total=1000, created_at=hours, resumed_at=minute, resumed_done=100)
    assert shown.seconds_left(run, NOW) == left


def test_work_of_unknown_size_has_no_time_left() -> None:
    assert shown.seconds_left(Run(state="running", done=5, total=None, created_at=NOW), NOW) is None
