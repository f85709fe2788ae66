"""A change of the policy: its page for the reviewer, its refusals, and that nobody gets around it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from backups import policy
from backups.cleanup import preparation, requests as cleanup_requests
from backups.cleanup.next_action import next_action
from backups.cleanup.stages import CleanupRefused
from backups.generations import start as generation_start
from backups.generations.scope import BackupRefused
from backups.models import Dataset
from backups.restores import requests as restore_requests, selection as restore_selection
from backups.retention import requests as prune_requests
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.approvals.gate import ApprovalRefused
from kvops.environments.toml import DefinitionRefused
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Category, Family, Key, PolicyVersion, PreparedChange, Scan
from kvops.refusals import Refused
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.retention import requesting
from tests.signing import fresh, signed_in

FAMILY = '[[family]]\nbinding = "SETTINGS"\npattern = "{}"\ncategory = "{}"\nowner = "platform"\nexpiry = "{}"\n'
EDITED = r"differ from policy 1: Family SETTINGS mastercache:\*: Note – → x\. Nobody approved this"


def family(pattern: str, category: str, expiry: str = "none", more: str = "") -> str:
    return FAMILY.format(pattern, category, expiry) + more


NOW = family("master:", "legacy") + family("mastercache:", "cache", "ttl:3600")
ROOT = family("system-root", "settings", more="exact = true\n")


def prepared(text: str) -> PreparedChange:
    change = policy.apply_policy(text, actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    return change


def asked(text: str, people: make.People) -> ApprovalRequest:
    return prepared_changes.submit_change(prepared(text), by=people.operator)


def scanned(estate: make.Estate, *names: str) -> None:
    for name in names:
        estate.put(estate.qa, name)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def page(client: Client, request: ApprovalRequest, language: str = "en") -> str:
    client.cookies["django_language"] = language
    with translation.override(language):
        return re.sub(r"\s+", " ", client.get(f"/approvals/{request.pk}/").content.decode())


# A large policy


def many(note: str) -> str:
    more = f'note = "{note}"\nencrypt = true\n'
    return NOW + ROOT + "".join(family(f"cache{n}:", "cache", "regenerate", more) for n in range(140))


def test_a_policy_of_140_families_with_long_notes_can_be_changed(db: None, people: make.People) -> None:
    policy.apply_policy(many("a" * 990), actor=make.SETUP)
    request = asked(many("b" * 990), people)
    assert len(request.evidence.encode()) < approval_gate.MAX_EVIDENCE
    assert json.loads(request.evidence)["difference"]["count"] == 140
    assert "b" * 990 in page(signed_in(people.reviewer), request)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    policy.use_change(request, by=people.operator)
    assert Family.objects.filter(note="b" * 990).count() == 140


def test_a_definition_that_was_exchanged_is_neither_shown_nor_used(estate: make.Estate, people: make.People) -> None:
    request = asked(NOW, people)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    other = policy.Policy.in_force().as_data()
    PreparedChange.objects.update(definition=json.dumps(other))
    assert "differs from the one that was submitted" in page(signed_in(people.reviewer), request)
    with pytest.raises(ApprovalRefused, match="differs from the approved one"):
        policy.use_change(request, by=people.operator)


# Rows that were changed past the policy


def edit() -> None:
    Family.objects.filter(pattern="mastercache:").update(note="x")


def test_a_row_changed_by_sql_stops_every_change_of_the_policy(estate: make.Estate, people: make.People) -> None:
    change = prepared(NOW)
    edit()
    with pytest.raises(DefinitionRefused, match=EDITED):
        policy.apply_policy(NOW + ROOT, actor=make.SETUP)
    with pytest.raises(DefinitionRefused, match=EDITED):
        prepared_changes.submit_change(change, by=people.operator)


def test_a_row_changed_by_sql_stops_the_approval_of_an_older_request(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.submitted(cleanup_helpers.asked(people), people).approval
    assert request is not None
    edit()
    with pytest.raises(ApprovalRefused, match="Note – → x"):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    request.refresh_from_db()
    assert request.state == "pending"
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="The policy was edited.")


def test_a_row_changed_by_sql_stops_the_approval_of_a_change(estate: make.Estate, people: make.People) -> None:
    request = asked(NOW, people)
    edit()
    with pytest.raises(ApprovalRefused, match=EDITED):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)


@pytest.mark.parametrize("address", ["/", "/categories/"])
def test_a_row_changed_by_sql_is_an_alarm(estate: make.Estate, people: make.People, address: str) -> None:
    browser, alarm = signed_in(people.auditor), "The policy was changed without an approval"
    assert alarm not in browser.get(address).content.decode()
    edit()
    shown = browser.get(address).content.decode()
    assert alarm in shown
    assert re.search(EDITED, shown)


def test_a_dataset_changed_by_sql_is_an_alarm_and_stops_a_submit(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    Dataset.objects.update(ignore=["name"])
    alarm = "The policy was changed without an approval"
    assert [alarm in signed_in(people.auditor).get(page).text for page in ("/", "/categories/")] == [True, True]
    with pytest.raises(Refused, match=r"differ from policy \d+: Dataset masters"):
        cleanup_requests.submit(stage, by=people.operator)


def test_a_row_changed_by_sql_stops_the_claim_of_a_change(estate: make.Estate, people: make.People) -> None:
    request = asked(NOW, people)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    edit()
    with pytest.raises(DefinitionRefused, match=EDITED):
        policy.use_change(request, by=people.operator)
    assert PolicyVersion.objects.count() == 1


def test_a_prefix_that_sql_made_a_name_is_an_edit(estate: make.Estate) -> None:
    Family.objects.filter(pattern="mastercache:").update(pattern="mastercache:*", exact=True)
    with pytest.raises(policy.PolicyEdited, match=r"Family SETTINGS mastercache:\*: Exactly this name no → yes"):
        policy.shown()


def _restore(estate: make.Estate, people: make.People) -> object:
    generation = cleanup_helpers.submitted(cleanup_helpers.asked(people), people).generation
    assert generation is not None
    estate.cloudflare.remove(estate.qa.namespace_id, "master:a:1")
    restore = restore_selection.prepare_restore(generation, actor=make.SETUP)
    make.work()
    edit()
    return restore_requests.submit(restore, reason="no longer needed", by=people.operator)


def _prune(estate: make.Estate, people: make.People) -> object:
    requesting.expired(estate, 40)
    edit()
    return prune_requests.collect(estate.qa.environment, reason="no longer needed", by=people.operator)


@pytest.mark.parametrize("ask", [_restore, _prune])
def test_a_row_changed_by_sql_stops_restores_and_prunes(
    estate: make.Estate, people: make.People, ask: Callable[[make.Estate, make.People], object]
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    with pytest.raises(policy.PolicyEdited, match="Note – → x"):
        ask(estate, people)


def test_a_row_changed_by_sql_starts_no_clean_up(estate: make.Estate, people: make.People) -> None:
    """It would keep the category of the edit, and a legacy family would go without its check against D1."""
    cleanup_helpers.estate_with_masters(estate)
    Family.objects.filter(pattern="master:").update(category="cache", expiry="ttl:3600")
    with pytest.raises(CleanupRefused, match="Category legacy master → cache"):
        cleanup_helpers.asked(people)


def test_a_family_that_changed_its_category_ends_its_clean_up(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    make.change_families("master:", category="cache", expiry="ttl:3600")
    request = cleanup_helpers.asked(people)
    make.change_families("master:", category="legacy", expiry="none")
    stage = cleanup_helpers.stage_of(request)
    for step in (preparation.freeze_stage, cleanup_requests.submit):
        with pytest.raises(CleanupRefused, match="legacy master, but this clean-up was asked for as cache"):
            step(stage, by=people.operator)
    action = next_action(stage, people.operator)
    assert action is not None
    assert action.label == "End this clean-up, then ask again"


def test_a_row_changed_by_sql_starts_no_backup(estate: make.Estate) -> None:
    """Settings would be stored unencrypted under the category of the edit."""
    Family.objects.filter(pattern="system-root").update(category="legacy")
    with pytest.raises(BackupRefused, match="Category settings → legacy master"):
        generation_start.start_backup(estate.qa, prefixes=["system-root"], actor=make.SETUP)


def test_a_row_changed_by_sql_stops_a_backup_before_it_reads_a_value(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a")
    run = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP).run
    edit()
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "policy_edited")
    assert estate.cloudflare.calls("bulk_get") == []


def test_a_policy_that_is_replaced_between_two_reads_is_not_an_edit(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced() -> policy.Policy:
        monkeypatch.undo()
        make.another_policy()
        return policy.Policy.read_rows()

    monkeypatch.setattr(policy.Policy, "read_rows", replaced)
    assert policy.shown()["version"] == 2


def test_the_policy_is_read_again_if_another_takes_effect_meanwhile(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = policy.Policy.stored

    def replaced(*rows: Iterable[Mapping[str, Any]]) -> policy.Policy:
        found = stored(*rows)
        monkeypatch.undo()
        make.another_policy()
        return found

    monkeypatch.setattr(policy.Policy, "stored", replaced)
    assert policy.text_in_force() == PolicyVersion.objects.get(number=2).definition


# New uses and old keys


def test_a_new_use_is_not_legacy(estate: make.Estate) -> None:
    scanned(estate, "master:1", "stock")
    with pytest.raises(DefinitionRefused, match=r"family SETTINGS stock:\*: no environment has a key of it"):
        policy.apply_policy(NOW + ROOT + family("stock:", "legacy"), actor=make.SETUP)
    assert prepared(NOW + ROOT + family("stock:", "cache", "regenerate"))


def test_a_legacy_key_does_not_make_the_prefix_of_its_name_legacy(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "stock")
    text = NOW + ROOT + family("stock", "legacy", more="exact = true\n")
    request = asked(text, people)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=["legacy_found"])
    policy.use_change(request, by=people.operator)
    with pytest.raises(DefinitionRefused, match=r"family SETTINGS stock\*: no environment has a key of it"):
        policy.apply_policy(text + family("stock", "legacy"), actor=make.SETUP)


def test_a_cache_without_keys_does_not_become_legacy(estate: make.Estate) -> None:
    with pytest.raises(DefinitionRefused, match="this is a new use of KV"):
        policy.apply_policy(NOW.replace("cache", "legacy", 1).replace('"cache"', '"legacy"'), actor=make.SETUP)


def test_old_keys_become_legacy_when_the_reviewer_accepts_it_by_name(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "stock:1")
    request = asked(NOW + ROOT + family("stock:", "legacy"), people)
    assert "I accept that old keys become legacy master data" in page(fresh(people.reviewer), request)
    with pytest.raises(ApprovalRefused, match="Accept each of them by its name"):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=["legacy_found"])
    policy.use_change(request, by=people.operator)
    assert Key.objects.get(name="stock:1").category == Category.LEGACY


def test_a_part_of_a_legacy_family_is_legacy_without_more(estate: make.Estate, people: make.People) -> None:
    request = asked(NOW + ROOT + family("master:drug:", "legacy"), people)
    assert json.loads(request.evidence)["risks"] == []


# The effect on keys


def test_the_reviewer_sees_how_many_keys_lose_what(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "system-root", "mastercache:1", "mastercache:2", "stock:1", "stock:2", "stock:3", "nobody")
    text = NOW.replace('"cache"', '"settings"').replace("ttl:3600", "none")
    request = asked(text + family("stock:", "cache", "regenerate") + family("stock:2", "settings"), people)
    [qa, production] = json.loads(request.evidence)["keys"]
    assert (qa["environment"], qa["recategorised"], qa["unmasked"], qa["unencrypted"]) == ("qa", 6, 2, 2)
    assert qa["moves"] == [
        ["cache", "settings", 2], ["settings", "unclassified", 1], ["unclassified", "cache", 2],
        ["unclassified", "settings", 1],
    ]  # fmt: skip
    assert (production["scan"], production["recategorised"]) == (None, 0)
    shown = page(signed_in(people.reviewer), request)
    assert "never scanned as a whole: the number of keys is not known" in shown
    assert "No longer masked" in shown
    assert '<span class="num">6</span>' in shown
    assert shown.count('<span class="num text-danger fw-bold">2</span>') == 2  # masked, encrypted


def test_the_newest_scan_is_one_of_the_whole_namespace(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "mastercache:1")
    inventory_scan.start_scan(estate.qa, prefix="mastercache:", actor=make.SETUP)
    make.work()
    [qa, _production] = json.loads(asked(NOW, people).evidence)["keys"]
    assert qa["scan"] == Scan.objects.get(prefix="").pk


def test_less_encryption_alone_is_an_effect(estate: make.Estate, people: make.People) -> None:
    make.change_families("mastercache:", encrypt=True)
    scanned(estate, "mastercache:1", "master:1")
    [qa, _production] = json.loads(asked(NOW + ROOT, people).evidence)["keys"]
    assert (qa["recategorised"], qa["unmasked"], qa["unencrypted"]) == (0, 0, 1)


def test_a_change_of_words_has_no_effect_on_keys(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "master:1")
    request = asked((NOW + ROOT).replace("platform", "others"), people)
    assert json.loads(request.evidence)["keys"] == []
    assert "None: no key changes its category" in page(signed_in(people.reviewer), request)


def test_the_effect_takes_one_query_of_the_keys_per_namespace(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "stock:1")
    change = prepared(NOW + ROOT + "".join(family(f"stock:{n}:", "cache", "regenerate") for n in range(30)))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        prepared_changes.submit_change(change, by=people.operator)
    assert sum("kvops_key WHERE" in query["sql"] for query in queries.captured_queries) == 2


def test_the_count_ends_at_its_limit(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvops.inventory.impact.MOST", 2)
    scanned(estate, "stock:1", "stock:2", "stock:3")
    request = asked(NOW + ROOT + family("stock:", "cache", "regenerate"), people)
    qa = json.loads(request.evidence)["keys"][0]
    assert (qa["recategorised"], qa["at_least"]) == (2, True)
    assert "at least" in page(signed_in(people.reviewer), request)


# The reader's language


def test_the_reviewer_reads_each_field_in_their_language(estate: make.Estate, people: make.People) -> None:
    request = asked(NOW.replace('"cache"', '"settings"').replace("3600", "86400"), people)
    pages = (page(signed_in(people.reviewer), request, language) for language in ("en", "ja"))
    english, japanese = (re.sub(r"(<[^>]+>|\s)+", " ", shown) for shown in pages)
    assert "Expiry design: expires after 1 hour → expires after 1 day" in english
    assert "Removed Family SETTINGS system-root" in english
    for word in ("Category", "Family", "Removed", "Expiry design", "cache →"):
        assert word not in japanese
