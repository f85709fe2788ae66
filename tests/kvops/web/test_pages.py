"""The pages of a list."""

import pytest

from kvops.web.pages import page_of


@pytest.mark.parametrize(
    ("found", "page"),
    [(0, ([], None)), (2, ([0, 1], None)), (3, ([0, 1, 2], None)), (4, ([0, 1, 2], "after 2"))],
)
def test_a_page_names_its_last_row_only_if_more_rows_follow(found: int, page: tuple[list[int], str | None]) -> None:
    assert page_of(range(found), 3, lambda row: f"after {row}") == page


def test_one_row_more_than_a_page_is_read() -> None:
    rows = iter(range(100))
    page_of(rows, 3, str)
    assert next(rows) == 4
