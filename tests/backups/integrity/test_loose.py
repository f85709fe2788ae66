"""Looser comparisons: which ways make two values equal, and nothing else."""

from datetime import UTC, datetime

import pytest

from backups.datasets.canonical import DECODER
from backups.integrity import loose
from backups.integrity.loose import Looser


@pytest.mark.parametrize(
    ("ours", "kind", "theirs", "ways"),
    [
        ('"Kyoto "', "t", "Kyoto", {Looser.SPACE}),
        ('"kyoto"', "t", "Kyoto", {Looser.CASE}),
        ('"kyoto  city"', "t", " Kyoto city", {Looser.CASE, Looser.SPACE}),
        ('"が"', "t", "か\u3099", {Looser.UNICODE}),
        ('"１２"', "t", "12", {Looser.UNICODE}),
        ('"12"', "i", "12", {Looser.TYPE}),
        ('"12.0"', "i", "12", {Looser.TYPE}),
        ('"true"', "i", "1", {Looser.TYPE}),
        ('""', "n", None, {Looser.EMPTY}),
        ('"  "', "n", None, {Looser.SPACE, Looser.EMPTY}),
        ('"2024-01-01"', "t", "2024/1/1", {Looser.DATE}),
        ('"2024-01-01T09:00:00+09:00"', "t", "2024-01-01 00:00:00", {Looser.DATE}),
        ('"Kyoto"', "t", "Nara", set()),
        ('"12"', "i", "13", set()),
        ("null", "t", "x", set()),
        ("9007199254740993", "i", "9007199254740992", set()),
        ('{"a": 1}', "t", '{"a":2}', set()),
        ('"Kyoto"', "b", [1], set()),
    ],
)
def test_the_fewest_ways_that_make_two_values_equal(ours: str, kind: str, theirs: object, ways: set[Looser]) -> None:
    found = loose.same_if(loose.of_json(DECODER.decode(ours)), loose.of_cell(kind, theirs))  # type: ignore[arg-type]
    assert set(found) == ways


def test_equal_values_need_no_way() -> None:
    assert loose.same_if(loose.of_json(True), loose.of_cell("i", "1")) == ()
    assert loose.same_if(("t", "x" * (loose.LONGEST + 1)), ("t", "X")) == ()


@pytest.mark.parametrize("value", ["2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "1767323045", "1767323045000"])
def test_a_moment_is_read_from_texts_and_numbers(value: str) -> None:
    assert loose.moment_of(value) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "soon", "12", "2026-13-01", "99999-01-01", "2026-01-02T99:00:00Z", [1], "9" * 30]
)
def test_anything_else_is_no_moment(value: object) -> None:
    assert loose.moment_of(value) is None
