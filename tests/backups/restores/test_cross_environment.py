"""Production's keys in QA: by a rule of the policy, which the reviewer sees and which is looked at again."""

import json

import pytest
from django.urls import reverse

from backups.models import Generation, Restore
from backups.restores import requests as restore_requests
from backups.restores.moves import RestoreRefused
from kvops import timing
from kvops.cloudflare import KvEntry
from kvops.environments.toml import DefinitionRefused, load
from kvops.inventory.families import read_families
from kvops.models import Category, Run
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.gate.world import past_the_triggers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
ENTRIES = tuple(KvEntry(f"master:a:{n}", b"value", None, None) for n in "12")
FAMILY = """\
[[family]]
binding = "SETTINGS"
pattern = "master:"
category = "%s"
owner = "platform"
expiry = "none"
qa_may_take = true
"""


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def generation(estate: make.Estate) -> Generation:
    """A copy of production's keys, whose family QA may take."""
    restore_helpers.put(estate, estate.production, *ENTRIES)
    make.change_families("master:", qa_may_take=True)
    return restore_helpers.verified_backup(estate.production)


def into_qa(generation: Generation, people: make.People, estate: make.Estate, **more: object) -> Restore:
    return restore_helpers.prepared(generation, people, namespace=estate.qa, **more)


def narrow(pattern: str) -> None:
    """Keys of this prefix belong to a family that says nothing."""
    make.family(pattern, Category.LEGACY)


def test_qa_takes_production_s_keys_where_a_rule_says_so(
    generation: Generation, estate: make.Estate, people: make.People
) -> None:
    restore = into_qa(generation, people, estate)
    restore_helpers.started(restore, people)
    make.work()
    assert set(restore_helpers.held(estate, estate.qa)) == {one.name for one in ENTRIES}
    shown = json.loads(restore_helpers.request_of(restore).evidence)
    assert shown["qa_may_take"] == ["SETTINGS master:*"]
    assert [warning["code"] for warning in shown["warnings"]] == ["restore_takes_production"]


def test_a_key_of_another_family_is_refused(generation: Generation, estate: make.Estate, people: make.People) -> None:
    narrow("master:a:2")
    with pytest.raises(RestoreRefused, match=r"does not have qa_may_take = true: 1\. The first is master:a:2"):
        into_qa(generation, people, estate)
    assert Restore.objects.count() == 0
    assert into_qa(generation, people, estate, names=["master:a:1"]).names == 1


def test_a_rule_that_is_gone_submits_nothing(generation: Generation, estate: make.Estate, people: make.People) -> None:
    restore = into_qa(generation, people, estate)
    narrow("master:a:")
    with pytest.raises(RestoreRefused, match="does not have qa_may_take"):
        restore_requests.submit(restore, reason="QA is empty", by=people.operator)


def test_a_rule_that_is_gone_starts_nothing(generation: Generation, estate: make.Estate, people: make.People) -> None:
    restore = restore_helpers.approved(into_qa(generation, people, estate), people)
    narrow("master:a:")
    with pytest.raises(RestoreRefused, match="The keys to restore differ from the approved ones"):
        restore_requests.start(restore, by=people.operator)
    assert restore_helpers.fresh(restore).state == "prepared"


def test_a_rule_that_goes_after_the_start_writes_nothing(
    generation: Generation, estate: make.Estate, people: make.People
) -> None:
    run = restore_helpers.started(into_qa(generation, people, estate), people)
    with past_the_triggers():
        make.change_families("master:", qa_may_take=False)
    make.work()
    assert (Run.objects.get(pk=run.pk).error_code, restore_helpers.held(estate, estate.qa)) == ("stale", {})


def test_the_form_offers_qa_and_says_what_it_may_take(
    generation: Generation, people: make.People, estate: make.Estate
) -> None:
    browser = signed_in(people.operator)
    shown = browser.get(reverse("backups:restore_new", args=[generation.pk])).content.decode()
    assert f'value="{estate.qa.pk}"' in shown
    assert "Only keys of master:* can be restored into another environment." in shown


def test_the_reviewer_sees_by_which_rule(generation: Generation, people: make.People, estate: make.Estate) -> None:
    request = restore_requests.submit(into_qa(generation, people, estate), reason="QA is empty", by=people.operator)
    shown = signed_in(people.reviewer).get(f"/approvals/{request.pk}/").content.decode()
    assert "Data of Production goes into another environment" in shown
    assert "Families that can be restored into QA" in shown


def test_settings_stay_in_production() -> None:
    assert read_families(load(FAMILY % "legacy"))[0].qa_may_take
    with pytest.raises(DefinitionRefused, match="production's secrets stay in production"):
        read_families(load(FAMILY % "settings"))
