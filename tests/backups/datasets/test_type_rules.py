"""Type rules: each makes equal what it names, and nothing without its name."""

import pytest
from hypothesis import given, strategies as st

from backups.datasets.type_rules import DEFAULT, RULES, BadRules, TypeRules
from backups.models.datasets import DEFAULT_RULES, TypeRule
from tests.backups.datasets.test_mapping import equal

WIDENED = [
    ("integer_boolean", "true", 1),
    ("integer_boolean", "false", 0),
    ("empty_null", '""', None),
    ("empty_null", "null", ""),
    ("number_text", '"12"', 12),
    ("number_text", "12", "12"),
    ("number_text", '"-0.5"', -0.5),
    ("number_text", '"9007199254740993"', 9007199254740993),
    ("time", '"2024-01-01T00:00:00Z"', "2024-01-01T09:00:00+09:00"),
    ("time", '"2024-01-01 00:00:00.500Z"', "2023-12-31T19:00:00.5-05:00"),
    ("time_seconds", "1704067200", "2024-01-01T00:00:00Z"),
    ("time_seconds", '"2024-01-01T00:00:00.25Z"', 1704067200.25),
    ("time_milliseconds", "1704067200000", "2024-01-01T00:00Z"),
    ("time_milliseconds", "-1", "1969-12-31T23:59:59.999Z"),
    ("nfc", '"か\u3099"', "が"),
    ("nfc", '"が"', "か\u3099"),
]


@pytest.mark.parametrize(("rule", "field", "cell"), WIDENED)
def test_a_rule_makes_equal_what_it_names(rule: str, field: str, cell: object) -> None:
    assert equal(field, cell, rule)


@pytest.mark.parametrize(("rule", "field", "cell"), WIDENED)
def test_without_its_name_no_rule_applies(rule: str, field: str, cell: object) -> None:
    others = [name for name in RULES if not name.startswith(("time", "zoneless")) and name != rule]
    assert not equal(field, cell)
    assert not equal(field, cell, *others)


@pytest.mark.parametrize(
    ("rules", "field", "cell"),
    [
        (["number_text"], '"012"', 12),
        (["number_text"], '"12.0"', 12),
        (["number_text"], '"+12"', 12),
        (["number_text"], '" 12"', 12),
        (["number_text"], '"12.0"', "12"),
        (["number_text"], '"9007199254740993"', 9007199254740992),
        (["number_text"], '"true"', 1),
        (["integer_boolean"], "true", 2),
        (["integer_boolean"], "true", "1"),
        (["integer_boolean"], '"true"', 1),
        (["empty_null"], '" "', None),
        (["time"], '"2024-01-01T00:00:00Z"', "2024-01-01T00:00:00+09:00"),
        (["time"], '"2024-01-01 00:00:00"', "2024-01-01T00:00:00Z"),
        (["time"], '"2024-01-01"', "2024-01-01T00:00:00Z"),
        (["time"], '"2024-02-30T00:00:00Z"', "2024-03-01T00:00:00Z"),
        (["time"], '"2024-01-01T24:00:00Z"', "2024-01-02T00:00:00Z"),
        (["time"], "1704067200", "2024-01-01T00:00:00Z"),
        (["time_seconds"], "1704067200000", "2024-01-01T00:00:00Z"),
        (["time_seconds"], '"1704067200"', "2024-01-01T00:00:00Z"),
        (["time_seconds"], '"2024-01-01T00:00:00.000000000001Z"', 1704067200),
        (["nfc"], '"Å"', "A"),
        (["nfc"], '"㌔"', "キロ"),
    ],
)
def test_a_rule_makes_nothing_else_equal(rules: list[str], field: str, cell: object) -> None:
    assert not equal(field, cell, *rules)


@pytest.mark.parametrize("rule", ["time", "time_seconds", "time_milliseconds"])
def test_a_time_without_a_zone_is_in_utc_only_by_a_rule_of_its_own(rule: str) -> None:
    assert not equal('"2024-01-01T00:00:00Z"', "2024-01-01 00:00:00", rule)
    assert equal('"2024-01-01T00:00:00Z"', "2024-01-01 00:00:00", rule, "zoneless_utc")


def test_rules_of_one_field_work_together() -> None:
    assert equal("true", "1", "integer_boolean", "number_text")
    assert equal('"1704067200"', "2024-01-01T00:00:00Z", "number_text", "time_seconds")


@given(st.text(), st.text())
def test_two_texts_are_equal_by_number_text_only_if_they_are_the_same(one: str, other: str) -> None:
    rules = TypeRules.of(["number_text", "integer_boolean"])
    assert (rules.apply(f"t{one}")[0] == rules.apply(f"t{other}")[0]) == (one == other)


@given(st.sampled_from(["0", "00", "0.0", "-0", "1", "01", "1.0", "1e0", "10", "1e1", "1E1"]), st.integers(0, 10))
def test_only_the_shortest_spelling_of_a_number_is_its_text(text: str, value: int) -> None:
    assert equal(f'"{text}"', value, "number_text") == (text == str(value))


@pytest.mark.parametrize(
    "names", [["numbers"], ["time", "time_seconds"], ["time_seconds", "time_milliseconds"], ["zoneless_utc"]]
)
def test_rules_that_are_unknown_or_exclude_each_other_are_refused(names: list[str]) -> None:
    with pytest.raises(BadRules):
        TypeRules.of(names)


def test_the_list_of_the_models_is_the_list_of_the_rules() -> None:
    assert list(TypeRule) == list(RULES)
    assert DEFAULT_RULES == DEFAULT
