"""Paths of members inside a value, as the policy writes them."""

import pytest
from hypothesis import given, strategies as st

from backups.datasets.paths import BadPath, parse, spelled, tree


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name", ("name",)),
        ("address.city", ("address", "city")),
        ('"postal.code".main', ("postal.code", "main")),
        (r'"a \"b\" \\".c', ('a "b" \\', "c")),
        ("日本 語", ("日本 語",)),
    ],
)
def test_a_path_names_members_with_dots_between_them(text: str, path: tuple[str, ...]) -> None:
    assert parse(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", '"a"b', '"a', '""', 'a"b', r'"a\b"'])
def test_a_path_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadPath):
        parse(text)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_every_member_can_be_spelled_and_read_again(path: list[str]) -> None:
    assert parse(spelled(path)) == tuple(path)


@pytest.mark.parametrize(
    ("compared", "ignored"), [(["a", "a.b"], []), (["a.b", "a"], []), (["a.b"], ["a"]), (["a"], ['"a"'])]
)
def test_a_path_inside_another_is_refused(compared: list[str], ignored: list[str]) -> None:
    with pytest.raises(BadPath):
        tree(compared, ignored)
