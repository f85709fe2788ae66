"""Keys that hold many rows: an array of rows or an object of rows by id, at a path inside the value."""

import json

import pytest

from backups.datasets.definition_parts import BadDataset
from backups.datasets.fields import Forms
from backups.datasets.mapping import Correspondence
from backups.datasets.sides import DatasetKey, Finding
from tests.backups.datasets.test_mapping import rule

LIST = {"key": "skills", "prefix": "skills", "holds": "array", "row": "{id}", "fields": {"id": "id", "name": "name"}}


def key(value: object, **changes: object) -> DatasetKey:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return of_list(**changes).key_from_bytes("skills", data)


def of_list(**changes: object) -> Correspondence:
    return rule(**{**LIST, "ignore": [], **changes})


def ids(found: DatasetKey) -> list[str]:
    return [row.row for row in found.rows or ()]


def test_an_array_holds_rows_by_the_columns_of_their_id() -> None:
    found = key([{"id": "a", "name": "x"}, {"id": 7, "name": None}])
    assert (ids(found), found.findings) == (["a", "7"], [])


def test_an_object_holds_rows_by_their_member() -> None:
    found = key({"a": {"name": "x"}, "7": {}}, holds="object", fields={"name": "name"})
    assert (ids(found), found.findings) == (["a", "7"], [])


def test_the_rows_may_lie_at_a_path() -> None:
    found = key({"data": {"a.b": [{"id": "1"}]}}, path='data."a.b"')
    assert (ids(found), found.findings) == (["1"], [])


@pytest.mark.parametrize(
    "value", [b"", b"{", [], "text", None, {"items": None}, {"items": {"id": "1"}}, {"data": [{"id": "1"}]}, b"\xff"]
)
def test_a_value_without_an_array_at_the_path_is_a_difference(value: object) -> None:
    found = key(value, path="items")
    assert found.rows is None
    assert {finding.kind for finding in found.findings} & {"no_rows", "not_an_object"}


def test_an_empty_array_holds_no_rows_and_is_no_difference() -> None:
    assert (key([]).rows, key([]).findings) == ([], [])


def test_a_row_that_is_no_object_or_has_no_id_is_named_by_its_place() -> None:
    found = key([{"id": "a"}, 5, {"name": "x"}, {"id": True}])
    assert ids(found) == ["a"]
    assert found.findings == [
        Finding("skills", "not_an_object", row="[1]"),
        Finding("skills", "no_id", "id", "[2]"),
        Finding("skills", "no_id", "id", "[3]"),
    ]


def test_a_member_that_is_no_object_is_named_by_its_id() -> None:
    found = key({"a": 5}, holds="object", fields={"name": "name"})
    assert (ids(found), found.findings) == (["a"], [Finding("skills", "not_an_object", row="a")])


def test_an_id_that_stands_twice_in_an_object_is_a_difference() -> None:
    found = key(b'{"a": {"name": "old"}, "a": {"name": "new"}}', holds="object", fields={"name": "name"})
    assert found.findings == [Finding("skills", "duplicate", row="a")]


def test_a_member_beside_the_rows_is_a_difference_unless_it_is_named() -> None:
    value = {"items": [], "total": 3, "meta": {"by": "x", "at": 1}}
    assert [finding.field for finding in key(value, path="items").findings] == ["total", "meta"]
    assert [finding.field for finding in key(value, path="items", beside=["total", "meta.at"]).findings] == ["meta.by"]
    assert key(value, path="items", beside=["total", "meta"]).findings == []


def test_fields_may_lie_inside_a_row() -> None:
    nested = {"id": "id", "address.city": "city", '"a.b"': "dotted"}
    found = key([{"id": "1", "address": {"city": "Kyoto", "zip": 5}, "a.b": 1}], fields=nested)
    assert found.rows
    assert found.rows[0].fields == Forms(["n1", "tKyoto", "t1"])
    assert found.findings == [Finding("skills", "unknown_field", "address.zip", "1")]


def test_an_inner_object_that_is_a_text_is_a_difference_and_null_is_absent() -> None:
    nested = {"id": "id", "address.city": "city"}
    found = key([{"id": "1", "address": "Kyoto"}, {"id": "2", "address": None}], fields=nested)
    assert found.findings == [Finding("skills", "not_an_object", "address", "1")]


def test_a_key_of_a_template_holds_rows_of_its_own() -> None:
    made = of_list(key="skills:{area}", prefix="skills:")
    cells = {"kinds": "tit", "c0": "east", "c1": "7", "c2": "x"}
    row = made.read_row(cells)
    assert (row.name, row.row, made.d1.key_of(cells)) == ("skills:east", "7", [("t", "east"), ("i", "7")])


def test_a_row_without_a_value_in_its_id_is_no_row_of_a_key() -> None:
    row = of_list().read_row({"kinds": "bt", "c0": [1], "c1": "x"})
    assert (row.name, row.row, row.nameless) == ("skills", None, "id")


def test_only_the_name_itself_belongs_to_a_dataset_of_one_key() -> None:
    assert of_list().owns("skills")
    assert not of_list().owns("skills2")


def test_rows_become_the_value_of_their_key_again() -> None:
    assert of_list(path="a.b").in_key([("1", {"id": "1"}), ("2", {})]) == {"a": {"b": [{"id": "1"}, {}]}}
    assert of_list(holds="object").in_key([("1", {"id": "1"}), ("2", {})]) == {"1": {"id": "1"}, "2": {}}


def test_a_row_is_found_by_its_id() -> None:
    data = b'{"items": [{"id": 1, "name": "a"}, {"id": "2", "name": "b"}]}'
    assert of_list(path="items").row_in(data, "2") == {"id": "2", "name": "b"}
    assert of_list(path="items").row_in(data, "3") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"row": ""},
        {"row": "{}"},
        {"holds": "list"},
        {"fields": {"name": "name"}},
        {"path": "a..b"},
        {"fields": {"id": "id", "a": "a", "a.b": "b"}},
        {"rules": ["numbers"]},
        {"field_rules": {"other": ["nfc"]}},
        {"holds": "row"},
    ],
)
def test_a_shape_that_cannot_be_used_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadDataset):
        of_list(**changes)
