"""A short slice of every torture row; `make torture` runs them whole."""

import pytest

from bench.torture import rows

ROWS = rows.rows()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ROWS)
def test_a_slice_of_the_row_reaches_its_figures(name: str) -> None:
    row = ROWS[name]
    found = [one for _, one in row.trials(1, range(row.slice))]
    figures = row.figures(found)
    assert len(found) == row.slice
    assert [f"{figure.name}: {figure.value:g}" for figure in figures if not figure.met] == []
