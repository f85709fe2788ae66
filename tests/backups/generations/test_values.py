"""The values of three keys of a backup, which a reviewer looks at before a decision."""

import re

import pytest
from django.test import Client

from audit.models import Entry
from backups.cleanup import requests as cleanup_requests
from backups.models import CleanupStage
from kvops.models import Category
from tests import make
from tests.backups.cleanup import helpers
from tests.signing import signed_in


@pytest.fixture
def stage(estate: make.Estate, people: make.People) -> CleanupStage:
    """A stage of four keys that waits for the reviewer."""
    for number in range(4):
        estate.put(estate.qa, f"mastercache:a\n{number}", f"value {number}".encode())
    helpers.scan(estate.qa)
    made = cleanup_requests.request(
        binding="SETTINGS", prefix="mastercache:", reason="of the old pages", by=people.operator
    )
    return helpers.submitted(made, people)


def values(browser: Client, stage: CleanupStage, *names: str) -> str:
    answer = browser.post(f"/backups/{stage.generation_id}/values", {"name": names})
    assert "no-store" in answer["Cache-Control"]
    return answer.content.decode()


def test_the_reviewer_sees_the_values_of_three_keys_and_each_is_recorded(
    stage: CleanupStage, people: make.People
) -> None:
    reviewer = signed_in(people.reviewer)
    page = reviewer.get(f"/approvals/{stage.approval_id}/").content.decode()
    assert f'action="/backups/{stage.generation_id}/values"' in page
    names = re.findall('name="name" value="([^"]*)"', page)
    shown = values(reviewer, stage, *names)
    assert len(names) == len(re.findall(r"value \d", shown)) == 3
    seen = Entry.objects.filter(action="value.viewed", subject=f"generation:{stage.generation_id}")
    assert {entry.details["key"] for entry in seen} == {name.replace("[U+000A]", "\n") for name in names}


def test_a_fourth_value_is_not_read(stage: CleanupStage, people: make.People) -> None:
    shown = values(signed_in(people.reviewer), stage, *(f"mastercache:a[U+000A]{number}" for number in range(4)))
    assert "value 2" in shown
    assert "value 3" not in shown


def test_a_value_that_is_not_there_has_its_reason_beside_the_others(stage: CleanupStage, people: make.People) -> None:
    shown = values(signed_in(people.reviewer), stage, "mastercache:nowhere", "mastercache:a[U+000A]1")
    assert "The backup has no value for this key." in shown
    assert "value 1" in shown


def test_no_value_is_shown_that_needs_masking_by_now(stage: CleanupStage, people: make.People) -> None:
    make.family("mastercache:a\n1", Category.SETTINGS)
    shown = values(signed_in(people.reviewer), stage, "mastercache:a[U+000A]1")
    assert "value 1" not in shown
    assert "settings or unclassified now" in shown
