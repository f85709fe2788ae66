"""Rows that are read at once equal rows that are read member by member, for every value."""

import json
from dataclasses import replace
from itertools import product
from typing import cast

import pytest
from hypothesis import given, strategies as st

from backups.datasets import fields as dataset_fields
from backups.datasets.at_once import Layouts
from backups.datasets.canonical import DECODER, JSON, canonical_cell
from backups.datasets.fields import Fields, Forms, differing, pack
from backups.datasets.mapping import Correspondence
from backups.datasets.sides import DatasetKey, DatasetRow, chained
from backups.datasets.type_rules import RULES
from kvops.cloudflare import Cell
from tests.backups.datasets.test_mapping import rule

ODD = (
    '"東京"', '"か\\u3099"', '"が"', '""', '"1"', '"1.0"', '"a\\u0000b"', '"\\ud800"', '"%s"', '"2024-01-01T00:00:00Z"',
    '"2024-01-01 09:00:00+09:00"', '"[1]"', '"{\\"a\\": 1.0}"', "0", "-0", "-0.0", "1", "1.0", "1e0", "1e400", "-1e400",
    "0.1", "9007199254740993", "9007199254740992", "18446744073709551616", "true", "false", "null", "[1]", '{"a":1}',
    '{"a":1,"a":2}',
)  # fmt: skip
"""JSON values that a careless reader takes for each other."""
CELLS: tuple[tuple[str, Cell], ...] = (
    ("t", "東京"), ("t", "か\u3099"), ("t", "が"), ("t", ""), ("t", "1"), ("t", "1.0"), ("t", "a\0b"), ("t", "\ud800"),
    ("t", "%s"), ("t", "2024-01-01T00:00:00Z"), ("t", "[1]"), ("t", '{"a": 1}'), ("i", "0"), ("i", "1"), ("i", "-1"),
    ("i", "9007199254740993"), ("r", 0.1), ("r", 1.0), ("r", -0.0), ("r", 1), ("r", None), ("n", None), ("b", [49]),
)  # fmt: skip
MEMBERS = ("id", "type", "name", "updated_at", "stranger")


class OneByOne(Layouts):
    """No layout is read at once."""

    def __missing__(self, members: tuple[str, ...]) -> None:
        return None


def slow(of: Correspondence) -> Correspondence:
    """The same rule without what is read at once."""
    return replace(of, in_keys=OneByOne([], {}), in_files=OneByOne([], {}), names=None)


def same(one: DatasetKey, other: DatasetKey) -> bool:
    return (one.name, one.rows and [*one.rows], [*one.findings]) == (
        other.name, other.rows and [*other.rows], [*other.findings]
    )  # fmt: skip


members = st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from(ODD)), max_size=7)


@given(members, st.sampled_from(({}, {"fields": {"name": "name"}}, {"fields": {"name": "name", "type.in": "type"}})))
def test_a_row_of_a_file_or_a_key_is_read_at_once_as_member_by_member(
    found: list[tuple[str, str]], changes: dict[str, object]
) -> None:
    text = "{" + ",".join(f'"{name}":{value}' for name, value in found) + "}"
    mine = rule(**changes)
    value = DECODER.decode(text)
    assert same(mine.key_from_row("masters[0]", value), slow(mine).key_from_row("masters[0]", value))
    data = text.encode()
    assert same(mine.key_from_bytes("master:a:1", data), slow(mine).key_from_bytes("master:a:1", data))


@given(st.lists(st.sampled_from(CELLS), min_size=3, max_size=3), st.sampled_from(("master:{type}:{id}", "%s:{id}%")))
def test_a_row_of_d1_is_read_at_once_as_column_by_column(found: list[tuple[str, Cell]], key: str) -> None:
    mine = rule(key=key, prefix=key.partition("{")[0])
    cells: dict[str, Cell] = {f"c{at}": value for at, (_kind, value) in enumerate(found)}
    cells["kinds"] = "".join(kind for kind, _value in found)
    row = mine.read_row(cells)
    columns = dict(zip(mine.d1.columns, found, strict=True))
    assert row.fields == Forms(canonical_cell(*columns[mine.fields[field]]) for field in mine.readings)
    name, nameless = mine.key.of_cells(cells, {column: mine.d1.cell(column) for column in mine.key.columns})
    assert (row.name, row.head, row.nameless) == (None if nameless else name, name, nameless)


@pytest.mark.parametrize("rules", [(), ("integer_boolean", "null_absent"), ("time_seconds", "nfc", "empty_null")])
def test_rows_with_equal_forms_have_no_difference_and_need_no_rule(rules: tuple[str, ...]) -> None:
    mine = rule(fields={"id": "id"}, key="master:{id}", rules=list(rules))
    pairs = 0
    for text, (kind, value) in product(ODD, CELLS):
        ours = mine.key_from_row("x[0]", {"id": DECODER.decode(text)}).rows or ()
        theirs = mine.read_row({"kinds": kind, "c0": value}).fields
        if ours and ours[0].fields == theirs:
            pairs += 1
            assert not differing(mine.readings, ours[0].fields, theirs)
            mine_by, their_by = (pack(mine.readings, theirs, column=column).by_rule for column in (False, True))
            assert mine_by == their_by
    assert pairs > 10


def test_rows_with_other_forms_may_still_be_equal_by_a_rule() -> None:
    mine = rule(fields={"id": "id", "n": "n"}, key="master:{id}", rules=list(RULES[:4]))
    [ours] = mine.key_from_row("x[0]", DECODER.decode('{"id": "1", "n": true}')).rows or ()
    theirs = mine.read_row({"kinds": "ti", "c0": "1", "c1": "1"}).fields
    assert ours.fields is not None
    assert ours.fields != theirs
    assert not differing(mine.readings, ours.fields, theirs)


def test_a_long_row_is_packed_as_soon_as_it_is_read() -> None:
    long = "x" * dataset_fields.LONG
    [ours] = rule().key_from_bytes("master:a:1", json.dumps({"id": "1", "type": "a", "name": long}).encode()).rows or ()
    theirs = rule().read_row({"kinds": "ttt", "c0": "a", "c1": "1", "c2": long})
    assert isinstance(ours.fields, Fields)
    assert ours.fields == theirs.fields
    assert long not in repr(theirs)


def test_layouts_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.datasets.at_once.MOST_LAYOUTS", 2)
    mine = rule()
    for extra in range(5):
        mine.key_from_row("x[0]", cast("JSON", {"id": "1", "type": "a", "name": "x", f"more{extra}": "y"}))
    assert len(mine.in_files) == 2


# What D1 held, as bytes


def found(name: str, *forms: str, row: str = "") -> DatasetRow:
    return DatasetRow(name, name, row, "", Forms(forms))


def test_other_rows_have_other_bytes_even_with_characters_that_separate() -> None:
    rows = [
        found("a", "t", "t"), found("a", "t\0t"), found("a", "t\0\1t"), found("a\0t", "t"), found("a", "t\0ka", "t"),
        found("a", "t", row="b"), found("a\0rb", "t"), found("", "t\0ka"),
    ]  # fmt: skip
    assert len({row.content() for row in rows}) == len(rows)


@given(st.lists(st.sampled_from(["a", "b\0", "\ud800"])), st.integers(0, 5))
def test_the_digest_of_rows_does_not_depend_on_where_it_was_interrupted(names: list[str], at: int) -> None:
    rows = [found(name, "t1") for name in names]
    assert chained(chained("", rows[:at]), rows[at:]) == chained("", rows)
