"""The frozen names of a clean-up by sub-prefix, with exact numbers and a bounded list."""

from itertools import groupby

import pytest

from backups.execution.subprefixes import MOST, by_subprefix
from backups.models import CleanupEntry, CleanupStage
from tests import make
from tests.backups.cleanup import helpers

pytestmark = pytest.mark.django_db


@pytest.fixture
def stage(estate: make.Estate, people: make.People) -> CleanupStage:
    helpers.estate_with_masters(estate)
    return helpers.stage_of(helpers.asked(people))


def freeze(stage: CleanupStage, *names: str) -> None:
    stage.names = len(names)
    stage.entries.all().delete()
    rows = [CleanupEntry(stage=stage, index=at, name=name) for at, name in enumerate(sorted(names, key=str.encode))]
    CleanupEntry.objects.bulk_create(rows)


def level(name: str, prefix: str) -> str:
    head, colon, _rest = name[len(prefix) :].partition(":")
    return prefix + head + colon


def test_the_numbers_are_those_of_the_names(stage: CleanupStage) -> None:
    names = [
        *("master:a:1", "master:a:2", "master:a:", "master:ab:1", "master:a", "master:", "master::x", "master:a;1"),
        *("master:診療科:内科", "master:診療科:外科", "master:zz", "master:b:c:d", "master:b:c:e"),
    ]
    freeze(stage, *names)
    names.sort(key=str.encode)
    expected = [(found, len([*inside])) for found, inside in groupby(names, lambda name: level(name, "master:"))]
    found, rest = by_subprefix(stage, "master:")
    assert [(one.name, one.keys) for one in found] == expected
    assert (rest, [one.name for one in found if not one.is_prefix]) == (
        0,
        ["master:", "master:a", "master:a;1", "master:zz"],
    )


def test_no_more_than_twelve_are_listed_and_the_rest_is_counted(stage: CleanupStage) -> None:
    freeze(stage, *(f"master:{number:02}:{key}" for number in range(MOST + 5) for key in range(3)))
    found, rest = by_subprefix(stage, "master:")
    assert ([one.keys for one in found], rest) == ([3] * MOST, 15)


def test_a_whole_namespace_and_no_name_at_all(stage: CleanupStage) -> None:
    freeze(stage, "a:1", "a:2", "b")
    assert [tuple(one) for one in by_subprefix(stage, "")[0]] == [("a:", 2, True), ("b", 1, False)]
    freeze(stage)
    assert by_subprefix(stage, "master:") == ([], 0)
