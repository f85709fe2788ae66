"""The layout of a packed row: equal rows are equal bytes, and a field that differs is found at its place."""

import pytest

from backups.datasets import fields as dataset_fields
from backups.datasets.canonical import NULL, ExactNumber, canonical_field, field_digest
from backups.datasets.fields import ABSENT, NO_OTHER, FieldReadings, Fields, Forms, differing, field_readings, pack
from backups.datasets.type_rules import TypeRules


def readings(*rules: str) -> dict[str, FieldReadings]:
    """The readings of the fields a and b, named out of order."""
    return field_readings({name: TypeRules.of(rules) for name in ("b", "a")})


def packed(forms: dict[str, str], *rules: str, column: bool = True) -> Fields:
    """A row with these forms; a field without one is absent."""
    found = readings(*rules)
    return pack(found, Forms(map(forms.get, found)), column=column)


def test_the_fields_stand_in_the_order_of_their_names() -> None:
    row = packed({"b": "tx", "a": "n1"})
    assert row == Fields(field_digest("n1") + field_digest("tx"), {})


def test_an_absent_field_is_null_only_by_its_rule() -> None:
    assert packed({"a": NULL, "b": "n1"}).packed.startswith(field_digest(NULL))
    row = packed({"a": NULL, "b": "n1"}, "null_absent")
    assert row == Fields(ABSENT + field_digest("n1"), {"a": (field_digest(NULL).hex(), "null_absent")})


def test_a_column_that_holds_json_is_packed_as_that_json_too() -> None:
    row = packed({"a": 't{"x": 1}', "b": "n1"})
    json = field_digest(canonical_field({"x": ExactNumber("1")}))
    assert row.packed == field_digest('t{"x": 1}') + field_digest("n1") + json + NO_OTHER


def test_a_text_in_a_key_is_only_a_text() -> None:
    row = packed({"a": 't{"x": 1}', "b": "n1"}, column=False)
    assert row.packed == field_digest('t{"x": 1}') + field_digest("n1")


@pytest.mark.parametrize(("ours", "found"), [('t{"x": 1}', set()), ('j{"x":1}', set()), ('j{"x":2}', {"a"})])
def test_fields_that_differ_are_named(ours: str, found: set[str]) -> None:
    key = packed({"a": ours, "b": "n1"}, column=False)
    assert differing(readings(), key, Forms(['t{"x": 1}', "n1"])) == found
    assert differing(readings(), key, Forms(['t{"x": 1}', None])) == found | {"b"}


def test_forms_are_remembered_up_to_a_number_and_long_ones_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_fields, "REMEMBERED", 4)
    one = readings()["a"]
    for form in ("t1", "t2", "t3", "t" + "x" * 1000):
        assert one[form] == field_digest(form)
    assert list(one) == ["t3"]
