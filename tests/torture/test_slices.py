"""A short slice of every torture row; `make torture` runs them whole."""

import pytest

from tests.torture import crashes, rows

ROWS = rows.rows()
PLAYS = {
    "approval": pytest.mark.hazard("4.2.11"),
    "drift": pytest.mark.hazard("B3", "B4", "B5"),
    "misbindings": pytest.mark.hazard("B27"),
    "mutations": pytest.mark.hazard("4.2.1", "B25"),
    "qa_first": pytest.mark.hazard("B28"),
    "retention": pytest.mark.hazard("B21", "B22"),
    "races": pytest.mark.hazard("4.2.6", "4.2.7", "4.2.8", "B26"),
}
"""The scenarios that rows play as a whole."""
ELSEWHERE = {
    **dict.fromkeys((row.name for row in crashes.ROWS), "test_crashes.py"),
    "kills": "test_kills.py",
    "hang_unscaled": "the row hang, scaled",
}
"""Rows that have no slice here, and what plays a part of them in the tests."""


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
