"""A restore of one deleted key of several: every page says how many came back, and by which restore."""

import pytest
from django.test import Client

from backups.models import CleanupRequest, CleanupStage, Restore
from kvops import timing
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
FIRST = cleanup_helpers.NAMES[0]


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def asked(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


def one_restored(stage: CleanupStage, people: make.People) -> Restore:
    """The restore of the first deleted key from the backup of its deletion."""
    assert stage.generation is not None
    return restore_helpers.done(stage.generation, people, prefix=FIRST)


def page(client: Client, address: str) -> str:
    return " ".join(client.get(address).text.split())


def test_the_deleted_list_marks_only_the_key_that_came_back(
    asked: CleanupRequest, people: make.People, auditor: Client
) -> None:
    one_restored(cleanup_helpers.accepted(asked, people), people)
    keys = auditor.get("/keys/qa/SETTINGS/deleted/").context["keys"]
    states = {key.entry.name: key.shown_state for key in keys}
    assert states == {FIRST: "restored", **dict.fromkeys(cleanup_helpers.NAMES[1:], "accepted")}


@pytest.mark.parametrize("where", ["/cleanup/{0}/", "/cleanup/stages/{1}/", "/cleanup/{0}/certificate/"])
def test_the_card_the_stage_and_the_certificate_say_how_many_came_back(
    asked: CleanupRequest, people: make.People, auditor: Client, where: str
) -> None:
    stage = cleanup_helpers.accepted(asked, people)
    restore = one_restored(stage, people)
    found = page(auditor, where.format(asked.pk, stage.pk))
    assert f"1 of 3 deleted keys came back by restore {restore.pk}" in found
    assert f'href="/restores/{restore.pk}/"' in found


def test_the_names_of_production_still_say_that_they_are_those_of_qa(
    asked: CleanupRequest, people: make.People, auditor: Client
) -> None:
    qa, production = (cleanup_helpers.accepted(asked, people, slug) for slug in ("qa", "production"))
    one_restored(qa, people)
    shown = page(auditor, f"/cleanup/stages/{production.pk}/")
    assert "The same names as in QA, where deleted keys were restored since" in shown
