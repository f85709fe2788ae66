"""A key's own story, on its page, and the list of the keys that KVOps deleted."""

import re

import pytest
from django.db.models.functions import Now
from django.test import Client

from audit.actions import Action
from audit.models import Entry
from backups.history import deleted_keys
from backups.models import CleanupChunk, CleanupRequest, CleanupStage, Restore
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.inventory import browse, scan as inventory_scan, value as key_value
from kvops.models import Key
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
NAME = cleanup_helpers.NAMES[0]
KEY = "/key/qa/SETTINGS/"
DELETED = "/keys/qa/SETTINGS/deleted/"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def deleted(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, cleaned and proven; no scan since."""
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)


def undone(stage: CleanupStage, people: make.People) -> Restore:
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    return Restore.objects.get(stage=stage)


def page(client: Client, address: str, **query: str) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def names(client: Client, **query: str) -> list[str]:
    return [key.entry.name for key in client.get(DELETED, query).context["keys"]]


@pytest.mark.parametrize("scanned_since", [False, True])
def test_the_page_of_a_deleted_key_says_who_deleted_it_and_from_where_it_comes_back(
    operator: Client, estate: make.Estate, people: make.People, scanned_since: bool
) -> None:
    stage = deleted(estate, people)
    if scanned_since:
        cleanup_helpers.scan(estate.qa)
    text = page(operator, KEY, name=NAME)
    at = CleanupChunk.objects.get(stage=stage).intended_at
    assert at is not None
    assert re.search(rf'KVOps deleted this key\. <time [^>]*datetime="{re.escape(at.isoformat())}"', text)
    assert 'href="/audit/?key=master%3Aa%3A1"' in text
    assert (
        "Started by Operator &lt;operator@example.com&gt;, approved by Reviewer &lt;reviewer@example.com&gt;." in text
    )
    for address in (f"/cleanup/{stage.request_id}/", f"/approvals/{stage.approval_id}/"):
        assert f'href="{address}"' in text
    assert f'href="/backups/{stage.generation_id}/restores/new/?name=master%3Aa%3A1"' in text
    assert "never existed" not in text


def test_a_deleted_key_offers_no_value_and_production_does(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    deleted(estate, people)
    text = page(operator, KEY, name=NAME)
    assert ("Look whether it is in KV again" in text, "Show the value" in text) == (True, False)
    assert "wrangler kv key get" not in text
    production = page(operator, "/key/production/SETTINGS/", name=NAME)
    assert ("Show the value" in production, "wrangler kv key get" in production) == (True, True)


def test_a_deletion_is_told_without_a_row_in_the_inventory(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    deleted(estate, people)
    Key.objects.all().delete()
    assert "KVOps deleted this key." in page(operator, KEY, name=NAME)
    assert names(operator) == sorted(cleanup_helpers.NAMES)


def test_a_key_that_the_deletion_left_alone_was_not_deleted(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    estate.put(estate.qa, NAME, b"changed after the backup")
    make.work()
    assert run.state
    assert "KVOps deleted this key." not in page(operator, KEY, name=NAME)
    assert NAME not in names(operator)


def test_a_stage_that_was_only_prepared_deleted_nothing(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    assert names(operator) == []
    text = page(operator, DELETED)
    assert "Nothing was deleted" in text
    assert re.search(r'<a class="[^"]*" href="/unexplained/">Unexplained changes</a>', text)
    assert "History of this key" not in page(operator, KEY, name=NAME)


def test_a_restored_key_says_so_on_its_page_and_in_the_list(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    restore = undone(deleted(estate, people), people)
    text = page(operator, KEY, name=NAME)
    assert text.index("Restored by KVOps") < text.index("Deleted by KVOps")
    assert f'href="/restores/{restore.pk}/"' in text
    assert "KVOps deleted this key." not in text
    assert f"In KV again by restore {restore.pk}" in page(operator, DELETED)


def test_an_unexplained_deletion_and_a_view_are_part_of_the_story(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    key_value.view(estate.qa, NAME, by=people.operator2)
    key_value.view(estate.production, NAME, by=people.reviewer)
    restore_helpers.wipe(estate, estate.qa, NAME)
    started = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    text = page(operator, KEY, name=NAME)
    assert "KVOps did not delete it, and its expiration had not passed." in text
    assert f'href="/unexplained/{started.pk}/"' in text
    assert "operator2@<wbr>example.com" in text
    assert "reviewer@" not in text


def test_deleted_keys_are_found_by_the_beginning_and_by_a_part(
    operator: Client, estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted(estate, people)
    assert f'href="{DELETED}"' in page(operator, "/keys/qa/SETTINGS/")
    assert names(operator, prefix="master:b") == ["master:b:1"]
    assert names(operator, part="ster:a") == ["master:a:1", "master:a:2"]
    assert names(operator, part="STER") == []
    monkeypatch.setattr("backups.history.views.PAGE", 2)
    first = operator.get(DELETED)
    assert first.context["after"] == "master:a:2"
    assert names(operator, after="master:a:2") == ["master:b:1"]


def test_another_environment_does_not_show_them(operator: Client, estate: make.Estate, people: make.People) -> None:
    deleted(estate, people)
    found, _ = deleted_keys.page(estate.production, prefix="", part="", after="", limit=9)
    assert found == []


def test_a_key_that_was_deleted_twice_is_listed_once_with_its_last_deletion(
    operator: Client, estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = deleted(estate, people)
    undone(first, people)
    CleanupRequest.objects.update(completed_at=Now())
    cleanup_helpers.scan(estate.qa)
    second = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    monkeypatch.setattr(browse, "QUICK", 1)
    for part in "", "ster:":
        found, _ = deleted_keys.page(estate.qa, prefix="", part=part, after="", limit=9)
        assert [(key.entry.stage_id, key.restored) for key in found] == [(second.pk, None)] * second.names
    assert page(operator, KEY, name=NAME).count("Deleted by KVOps") == 2


def test_the_audit_log_finds_the_clean_up_the_undo_and_the_views_by_the_name_of_the_key(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    stage = deleted(estate, people)
    restore = undone(stage, people)
    key_value.view(estate.qa, NAME, by=people.operator)
    subjects = {entry.subject for entry in operator.get("/audit/", {"key": NAME}).context["entries"]}
    assert {f"cleanup:{stage.request_id}", f"stage:{stage.pk}", f"restore:{restore.pk}"} <= subjects
    assert Entry.objects.get(action=Action.VALUE_VIEWED).subject in subjects
    assert not operator.get("/audit/", {"key": "master:none"}).context["entries"]


def test_keys_found_by_the_trigram_index_follow_the_window(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted(estate, people)
    monkeypatch.setattr(browse, "QUICK", 1)
    monkeypatch.setattr(browse, "WINDOW", 2)
    found, after = deleted_keys.page(estate.qa, prefix="", part="ster:b", after="", limit=9)
    assert ([key.entry.name for key in found], after) == (["master:b:1"], None)
