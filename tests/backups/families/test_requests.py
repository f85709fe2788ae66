"""A family that is registered on the page: its refusals, its review, and its way into the policy."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from backups import policy
from backups.families import requests as family_requests
from backups.families.evidence import EffectChanged
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.approvals.gate import ApprovalRefused
from kvops.environments.toml import DefinitionRefused
from kvops.models import ApprovalRequest, Category, Family, Key, PolicyVersion, PreparedChange
from tests import make
from tests.backups.families.registering import FORM, approved, asked, registration, scanned, text_of
from tests.backups.test_policy_changes import NOW
from tests.signing import fresh, sent, signed_in


def used(request: ApprovalRequest, people: make.People) -> Family:
    policy.use_change(approved(request, people), by=people.operator)
    return Family.objects.get(registration__approval=request)


def evidence_of(request: ApprovalRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.evidence)
    return found


# The way into the policy


def test_a_registered_family_is_a_new_version_of_the_policy(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "session:1", "other")
    family = used(asked(people), people)
    assert PolicyVersion.objects.latest("number").number == 2
    assert (family.category, family.expiry, family.retain_days) == ("cache", "ttl:3600", 30)
    assert Key.objects.get(name="session:1").category == Category.CACHE
    assert policy.shown()["version"] == 2


def test_the_request_holds_only_its_family_and_the_version_it_was_made_from(
    estate: make.Estate, people: make.People
) -> None:
    request = asked(people)
    found = evidence_of(request)
    assert found["from"] == policy.shown()
    assert "master:" not in request.evidence.replace("mastercache:", "")
    assert json.loads(PreparedChange.objects.get(approval=request).definition)["pattern"] == "session:"


def test_an_unapproved_family_is_not_in_force(estate: make.Estate, people: make.People) -> None:
    request = asked(people)
    with pytest.raises(ApprovalRefused, match="not approved"):
        policy.use_change(request, by=people.operator)
    assert not Family.objects.filter(pattern="session:").exists()


def test_several_patterns_may_be_open_at_once(estate: make.Estate, people: make.People) -> None:
    first, second = asked(people), asked(people, pattern="basket:", sample_key="basket:1")
    used(first, people)
    used(second, people)
    assert set(Family.objects.filter(registration__isnull=False).values_list("pattern", flat=True)) == {
        "session:", "basket:"
    }  # fmt: skip


def test_one_pattern_has_one_open_request(estate: make.Estate, people: make.People) -> None:
    request = asked(people)
    with pytest.raises(ApprovalRefused, match=f"Approval {request.pk} already asks for this"):
        asked(people)
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="no longer needed")
    assert asked(people).pk != request.pk


# What is refused


def test_a_family_of_the_policy_is_not_registered_again(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(DefinitionRefused, match="The policy already has the family"):
        asked(people, pattern="mastercache:", sample_key="mastercache:1")
    assert not PreparedChange.objects.exists()


def test_a_new_use_is_not_legacy(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(DefinitionRefused, match="this is a new use of KV"):
        asked(people, category="legacy", expiry="none")


def test_only_an_operator_registers(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(ApprovalRefused, match="Only an operator"):
        family_requests.register(registration(), by=people.reviewer)


def test_a_definition_that_was_exchanged_is_not_used(estate: make.Estate, people: make.People) -> None:
    request = approved(asked(people), people)
    PreparedChange.objects.update(definition=json.dumps(registration(owner="somebody").as_data()))
    with pytest.raises(ApprovalRefused, match="differs from the approved one"):
        policy.use_change(request, by=people.operator)


# The effect, shown to the reviewer


def test_the_reviewer_sees_which_keys_lose_what_in_each_environment(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "session:1", "session:2", "session:x:1", "other")
    make.family("session:x:", Category.SETTINGS)
    scanned(estate)
    request = asked(people)
    [qa, production] = evidence_of(request)["keys"]
    assert (qa["keys"], qa["recategorised"], qa["unmasked"], qa["unencrypted"]) == (2, 2, 2, 2)
    assert (production["scan"], production["keys"]) == (None, 0)
    shown = text_of(signed_in(people.reviewer), f"/approvals/{request.pk}/")
    assert 'href="/keys/qa/SETTINGS/?prefix=session%3A&category=unclassified"' in shown
    assert "SETTINGS session:x:*" in shown
    assert "never scanned as a whole" in shown
    assert "env-production" in shown.partition("never scanned as a whole")[0].rpartition("<tr>")[2]


def test_the_link_to_the_keys_of_a_family_names_the_family(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "mastercache:a:1", "mastercache:b")
    request = asked(people, pattern="mastercache:a:", sample_key="mastercache:a:1")
    parent = Family.objects.get(pattern="mastercache:").pk
    shown = text_of(signed_in(people.reviewer), f"/approvals/{request.pk}/")
    assert f"prefix=mastercache%3Aa%3A&family={parent}" in shown
    assert evidence_of(request)["keys"][0]["recategorised"] == 0


def test_a_new_family_is_encrypted_and_read_as_its_parent_although_it_has_no_keys(
    estate: make.Estate, people: make.People
) -> None:
    make.family("sess", Category.CACHE, expiry="regenerate")
    make.change_families("sess", encrypt=True, read="exact")
    request = asked(people)
    family = used(request, people)
    assert (family.encrypt, family.read) == (True, "exact")
    assert evidence_of(request)["family"]["encrypt"]


def test_the_reviewer_sees_each_rule_that_differs_from_that_of_the_parent(
    estate: make.Estate, people: make.People
) -> None:
    make.family("sess", Category.SETTINGS)
    make.change_families("sess", retain_days=365, interval_hours=24)
    request = asked(people)
    assert evidence_of(request)["changes"] == {
        "encrypt": [True, False], "retain_days": [365, 30], "interval_hours": [24, 0]
    }  # fmt: skip
    shown = text_of(signed_in(people.reviewer), f"/approvals/{request.pk}/")
    for rule in ("Always encrypted: yes", "Days that backups are kept: 365", "Hours between backups: 24"):
        assert f"<div>{rule} → <strong>" in shown
    assert "24 → <strong>no backup is expected</strong>" in shown


def test_a_prefix_does_not_come_from_the_key_of_the_same_name(estate: make.Estate, people: make.People) -> None:
    make.family("session:", Category.SETTINGS, exact=True)
    assert evidence_of(asked(people))["takes_from"]["family"] == ""


def test_the_reviewer_decides_on_the_page_by_typing_the_pattern(estate: make.Estate, people: make.People) -> None:
    request = asked(people)
    answer = {"decision": "approve", "shown": request.digest, "confirm": "session:", "reason": ""}
    sent(fresh(people.reviewer), f"/approvals/{request.pk}/decide", answer)
    signed_in(people.operator).post(f"/approvals/{request.pk}/apply")
    assert Family.objects.filter(pattern="session:").exists()


def test_the_title_is_in_the_readers_language(estate: make.Estate, people: make.People) -> None:
    asked(people)
    shown = text_of(signed_in(people.reviewer), "/approvals/", "ja")
    assert "SETTINGS session:*" in shown
    assert "Register the key family" not in shown


# Another policy came first


def another(people: make.People, **changes: object) -> None:
    used(asked(people, pattern="basket:", sample_key="basket:1", **changes), people)


def overlap(estate: make.Estate, people: make.People) -> None:
    used(asked(people, pattern="session:x:", sample_key="session:x:1"), people)


def test_the_new_effect_is_shown_and_submitted_anew(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "session:1", "session:x:1")
    request = approved(asked(people), people)
    overlap(estate, people)
    operator = signed_in(people.operator)
    assert f'action="/categories/new/{request.pk}/anew"' in text_of(operator, f"/approvals/{request.pk}/")
    answer = operator.post(f"/categories/new/{request.pk}/anew")
    newer = ApprovalRequest.objects.latest("pk")
    assert answer.headers["Location"] == f"/approvals/{newer.pk}/"
    request.refresh_from_db()
    assert (request.state, evidence_of(newer)["inside"]["count"]) == ("withdrawn", 1)
    assert used(newer, people).pattern == "session:"


def test_the_reason_of_a_new_submission_is_kept_in_every_language(estate: make.Estate, people: make.People) -> None:
    scanned(estate, "session:1", "session:x:1")
    request = asked(people)
    overlap(estate, people)
    with translation.override("ja"):
        family_requests.submit_anew(request, by=people.operator)
    request.refresh_from_db()
    assert request.reason == "Submitted anew, because another policy came first."
    address = f"/approvals/{request.pk}/"
    assert request.reason in text_of(signed_in(people.reviewer), address)
    assert "先に別のポリシーが有効になったため" in text_of(signed_in(people.reviewer), address, "ja")


def test_only_a_changed_effect_is_submitted_anew(estate: make.Estate, people: make.People) -> None:
    request = asked(people)
    with pytest.raises(ApprovalRefused, match="stays valid"):
        family_requests.submit_anew(request, by=people.operator)
    approval_gate.withdraw(request, by=people.operator)
    request.refresh_from_db()
    with pytest.raises(ApprovalRefused, match="The request is over"):
        family_requests.submit_anew(request, by=people.operator)


def test_a_change_of_the_policy_does_not_undo_a_family_that_came_first(
    estate: make.Estate, people: make.People
) -> None:
    change = policy.apply_policy(NOW, actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    used(asked(people), people)
    with pytest.raises(DefinitionRefused, match=r"session:\* was registered since"):
        prepared_changes.submit_change(change, by=people.operator)


def test_a_change_of_the_policy_that_was_submitted_earlier_is_not_used(
    estate: make.Estate, people: make.People
) -> None:
    change = policy.apply_policy(NOW, actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    request = prepared_changes.submit_change(change, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    used(asked(people), people)
    with pytest.raises(ApprovalRefused, match="registered since"):
        policy.use_change(request, by=people.operator)


def test_the_refusal_at_the_use_is_of_its_own_kind(estate: make.Estate, people: make.People) -> None:
    request = approved(asked(people), people)
    overlap(estate, people)
    with pytest.raises(EffectChanged):
        policy.use_change(request, by=people.operator)


# The form


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def test_the_form_asks_a_reviewer(operator: Client, estate: make.Estate) -> None:
    answer = operator.post("/categories/new/", FORM)
    request = ApprovalRequest.objects.get(kind="family")
    assert answer.headers["Location"] == f"/approvals/{request.pk}/"
    assert f"/approvals/{request.pk}/" in text_of(operator, "/categories/")


FORM_REFUSALS = {
    "seconds": {"seconds": ""},
    "design": {"design": "none"},
    "note": {"design": "none", "category": "settings"},
    "sample_key": {"sample_key": "other"},
    "review": {"review": "wiki"},
    "pattern": {"pattern": "session:*"},
}


@pytest.mark.parametrize("field", FORM_REFUSALS)
def test_the_form_says_at_the_field_what_is_wrong(operator: Client, estate: make.Estate, field: str) -> None:
    answer = operator.post("/categories/new/", {**FORM, **FORM_REFUSALS[field]})
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {field}
    assert not ApprovalRequest.objects.exists()


def test_a_refusal_of_the_policy_stands_above_the_form(operator: Client, estate: make.Estate) -> None:
    answer = operator.post("/categories/new/", {**FORM, "category": "legacy", "design": "none"})
    assert (answer.status_code, "new use of KV" in answer.content.decode()) == (422, True)


def test_the_effect_can_be_looked_at_before_the_submit(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "session:1")
    shown = operator.post("/categories/new/", {**FORM, "look": "1"}).content.decode()
    assert "Keys that join the family" in shown
    assert not ApprovalRequest.objects.exists()


def test_a_look_at_a_refused_family_says_why(operator: Client, estate: make.Estate) -> None:
    answer = operator.post(
        "/categories/new/", {**FORM, "pattern": "mastercache:", "sample_key": "mastercache:1", "look": "1"}
    )
    assert (answer.status_code, "already has the family" in answer.content.decode()) == (422, True)


def test_a_proposal_with_an_invisible_character_stays_as_it_is(operator: Client, estate: make.Estate) -> None:
    shown = text_of(operator, "/categories/new/?pattern=a%5BU%2B000A%5D&sample_key=a%5BU%2B000A%5Db")
    assert 'value="a[U+000A]"' in shown
    operator.post("/categories/new/", {**FORM, "pattern": "a[U+000A]", "sample_key": "a[U+000A]b"})
    request = ApprovalRequest.objects.get()
    assert evidence_of(request)["family"]["pattern"] == "a\n"
    assert "SETTINGS a[U+000A]*" in text_of(operator, f"/approvals/{request.pk}/")


def test_a_rejected_registration_can_be_started_again(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    request = asked(people)
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="no longer needed")
    assert f"?again={request.pk}" in text_of(operator, f"/approvals/{request.pk}/")
    assert 'value="session:5f1c9a0b7e"' in text_of(operator, f"/categories/new/?again={request.pk}")
    assert operator.get("/categories/new/?again=999999").status_code == 404


def test_a_registered_family_names_its_feature_and_review(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    request = asked(people)
    used(request, people)
    shown = text_of(operator, "/categories/")
    assert 'href="https://wiki.example.com/reviews/12"' in shown
    assert f"Approval {request.pk}" in shown.replace('">Approval', '"> Approval')
