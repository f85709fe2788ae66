"""A short slice of every torture row; `make torture` runs them whole."""

import pytest

from bench.torture import rows

ROWS = rows.rows()
PLAYS = {
    "approval": pytest.mark.hazard("4.2.11"),
    "misbindings": pytest.mark.hazard("B27"),
    "mutations": pytest.mark.hazard("4.2.1", "B25"),
    "qa_first": pytest.mark.hazard("B28"),
    "retention": pytest.mark.hazard("B21", "B22"),
    "races": pytest.mark.hazard("4.2.6", "4.2.7", "4.2.8", "B26"),
}
"""The scenarios that rows play as a whole."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [pytest.param(name, marks=PLAYS.get(name, ())) for name in ROWS])
def test_a_slice_of_the_row_reaches_its_figures(name: str) -> None:
    row = ROWS[name]
    found = [one for _, one in row.trials(1, range(row.slice))]
    figures = row.figures(found)
    assert len(found) == row.slice
    assert [f"{figure.name}: {figure.value:g}" for figure in figures if not figure.met] == []
