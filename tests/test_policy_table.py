"""`docs/policy.md` has a row for each rule of the policy, and what a row names is there: tests, pages and commands."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import resolve

ROOT = Path(__file__).parents[1]
RULES = (
    "1a", "1b", "1c", "2a", "2b", "2c", "3.1a", "3.1b", "3.1c", "3.2a", "3.2b", "3.2c", "3.3a", "3.3b", "3.4a", "3.4b",
    "3.4c", "4a", "4b", "4c", "5.1a", "5.1b", "5.2a", "5.2b", "5.3a", "5.3b", "5.3c", "5.4a", "5.4b", "6a", "6b", "6c",
    "7a", "7b", "7c",
)  # fmt: skip
"""The sections of the policy, with a letter for each sentence."""
SAMPLES = {"env": "qa", "binding": "SETTINGS", "dataset": "masters", "name": "masters"}
"""A value for each placeholder of an address that is no number."""


def named(cell: str) -> list[str]:
    """The names that a cell has as code."""
    return re.findall(r"`([^`]+)`", cell)


def rows() -> list[tuple[list[str], list[str], list[str]]]:
    """The rules of each row, the names in its words about pages and commands, and its tests."""
    lines = (ROOT / "docs/policy.md").read_text("utf-8").splitlines()
    cells = [line.strip("|").split(" | ") for line in lines if re.match(r"\| \d", line)]
    return [(re.findall(r"[\d.]+[a-z]", rule), named(places), named(tests)) for rule, _, places, tests in cells]


def addresses() -> list[str]:
    return sorted({name for _, places, _ in rows() for name in places if name.startswith("/")})


def test_each_rule_has_one_row() -> None:
    assert [rule for rules, _, _ in rows() for rule in rules] == list(RULES)


@pytest.mark.parametrize(("rules", "tests"), [(rules, tests) for rules, _, tests in rows()])
def test_each_row_names_tests_that_are_there(rules: list[str], tests: list[str]) -> None:
    files = [name for name in tests if name.startswith("tests/")]
    assert files, rules
    assert [name for name in files if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("address", addresses())
def test_each_page_that_a_row_names_is_there(address: str) -> None:
    path = re.sub(r"<(\w+)>", lambda found: SAMPLES.get(found[1], "1"), address.partition("?")[0])
    assert resolve(path)


def test_each_command_that_a_row_names_is_there() -> None:
    named_so = [name.split()[1] for _, places, _ in rows() for name in places if name.startswith("manage.py ")]
    assert {"export_masters", "kv_dump", "apply_policy", "export_clinics"} <= set(named_so)
    assert set(named_so) - get_commands().keys() == set()
