"""A short slice of the torture rows that can be played in 20 s; `make torture` runs them all, and whole."""

import pytest

from tests.torture import crashes, rows

ROWS = rows.rows()
PLAYS = {
    "drift": pytest.mark.hazard("B3", "B4", "B5"),
    "mutations": pytest.mark.hazard("4.2.1", "B25"),
    "qa_first": pytest.mark.hazard("B28"),
    "retention": pytest.mark.hazard("B21", "B22"),
}
"""The scenarios that a slice plays."""
ALONE = "make torture alone"
ELSEWHERE = {
    **dict.fromkeys((row.name for row in crashes.ROWS), ALONE),
    "crashes_0": "test_crashes.py",
    "crashes_change": "tests/backups/changes/test_crashes.py",
    "crashes_bulk": "tests/backups/changes/bulk/test_crashes.py",
    "stops": "test_crashes.py",
    "kills": "test_kills.py",
    "approval": "tests/gate/test_deciding.py, tests/gate/test_bypasses.py",
    "hang": "tests/kvops/supervision/test_cluster.py",
    "hang_unscaled": ALONE,
    "storms": "tests/kvops/connections/test_rate.py",
}
"""Rows without a slice, because one trial takes more than 20 s, and what plays a part of them in the tests."""


def test_each_row_has_a_slice_or_is_named_with_the_tests_that_play_a_part_of_it() -> None:
    assert {name for name, row in ROWS.items() if not row.slice} == ELSEWHERE.keys()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=PLAYS.get(name, ())) for name in ROWS if name not in ELSEWHERE]
)
def test_a_slice_of_the_row_reaches_its_figures(name: str) -> None:
    row = ROWS[name]
    found = [one for _, one in row.trials(1, range(row.slice))]
    figures = row.figures(found)
    assert len(found) == row.slice > 0
    assert [f"{figure.name}: {figure.value:g}" for figure in figures if not figure.met] == []
