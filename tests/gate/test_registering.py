"""The registration of a family: its refusals, the evidence for the reviewer, and when it must be submitted anew."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from backups import policy
from backups.families import evidence as family_evidence, requests as family_requests
from backups.families.evidence import EffectChanged
from kvops.approvals import evidence as canonical_evidence, gate as approval_gate, prepared_changes
from kvops.approvals.gate import ApprovalRefused
from kvops.environments.toml import DefinitionRefused
from kvops.inventory import registration as registrations
from kvops.inventory.registration import FamilyRegistration
from kvops.models import ApprovalRequest, Category, Family, Key, Namespace, PolicyVersion, PreparedChange, Run, Scan
from tests import make
from tests.backups.families.registering import FORM, approved, asked, registration
from tests.gate import world as gate
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
ANSWERS = {name: FORM[name] for name in ("feature", "sample_key", "shape", "review")}
DATA: dict[str, object] = {
    **{name: FORM[name] for name in ("binding", "pattern", "category", "owner", "note")},
    **ANSWERS,
}
DATA |= {"exact": False, "expiry": "ttl:3600"}


def faults(**changes: object) -> list[tuple[str, str]]:
    return [(field, str(sentence)) for field, sentence in registrations.faults({**DATA, **changes})]


LINE, STAR = "Write this on one line.", "A prefix has no star at its end. Leave it out."
LONG = "A prefix is text without NUL of at most 512 bytes."
SAMPLE = "The sample must be a key that the pattern covers."
SHAPE = "Describe the value: its members and their types, never a real value."
REVIEW = "Give the address of the design review, beginning with https://."
CACHE = "A cache expires or is written again when it is missing. Choose which."
NEVER = "Say why these settings never expire."
FAULTS: list[tuple[dict[str, object], list[tuple[str, str]]]] = [
    ({}, []),
    ({"pattern": "session:*"}, [("pattern", STAR)]),
    ({"pattern": "session:*", "exact": True, "sample_key": "session:*"}, []),
    ({"pattern": "a" * 512, "sample_key": "a" * 512}, []),
    ({"pattern": "a" * 513, "sample_key": "a" * 512}, [("pattern", LONG), ("sample_key", SAMPLE)]),
    ({"pattern": "あ" * 171, "sample_key": "x"}, [("pattern", LONG), ("sample_key", SAMPLE)]),
    ({"pattern": "a\0", "sample_key": "a\0b"}, [("pattern", LONG), ("sample_key", SAMPLE)]),
    ({"feature": " "}, [("feature", LINE)]),
    ({"feature": "a\x1fb"}, [("feature", LINE)]),
    ({"owner": ""}, [("owner", LINE)]),
    ({"owner": "a\x7f"}, [("owner", LINE)]),
    ({"expiry": "none"}, [("expiry", CACHE)]),
    ({"expiry": "none", "note": "no longer needed"}, [("expiry", CACHE)]),
    ({"category": "settings", "expiry": "none"}, [("note", NEVER)]),
    ({"category": "settings", "expiry": "none", "note": "  "}, [("note", NEVER)]),
    ({"category": "settings", "expiry": "none", "note": "no longer needed"}, []),
    ({"category": "settings"}, []),
    ({"category": "legacy", "expiry": "none"}, []),
    ({"sample_key": "other"}, [("sample_key", SAMPLE)]),
    ({"sample_key": f"session:{'a' * 504}"}, []),
    ({"sample_key": f"session:{'a' * 505}"}, [("sample_key", SAMPLE)]),
    ({"sample_key": "session:\0"}, [("sample_key", SAMPLE)]),
    ({"exact": True}, [("sample_key", SAMPLE)]),
    ({"exact": True, "sample_key": "session:"}, []),
    ({"shape": "  "}, [("shape", SHAPE)]),
    ({"review": ""}, [("review", REVIEW)]),
    ({"review": "http://wiki"}, []),
    ({"review": "see https://wiki"}, [("review", REVIEW)]),
    ({"review": "https://wiki and more"}, [("review", REVIEW)]),
    ({"review": "https:///path"}, [("review", REVIEW)]),
]


@pytest.mark.parametrize(("changes", "found"), FAULTS)
def test_each_rule_of_a_registration_names_its_field(changes: dict[str, object], found: list[tuple[str, str]]) -> None:
    assert faults(**changes) == found


def test_a_registration_is_its_family_and_its_answers() -> None:
    mine = FamilyRegistration.read({**DATA, "note": "the reason why", "exact": False})
    family = mine.family
    assert (family.binding, family.pattern, family.exact, family.category) == ("SETTINGS", "session:", False, "cache")
    assert (family.owner, family.expiry, family.note) == ("platform", "ttl:3600", "the reason why")
    assert mine.answers() == ANSWERS
    assert mine.as_data() == {**DATA, "note": "the reason why"}
    assert FamilyRegistration.read(mine.as_data()) == mine


def test_a_registration_with_a_fault_is_refused_with_the_first_sentence() -> None:
    with pytest.raises(DefinitionRefused, match="A cache expires or is written again"):
        FamilyRegistration.read({**DATA, "expiry": "none", "shape": ""})


def test_a_name_and_a_prefix_are_two_patterns() -> None:
    exact = registration(exact=True, sample_key="session:")
    assert (registration().about, exact.about) == ("SETTINGS prefix session:", "SETTINGS name session:")


def listed(namespace: Namespace, *names: str) -> None:
    """The newest whole scan found these keys."""
    run = gate.over(Run.Kind.SCAN, f"namespace:{namespace.pk}", namespace.environment)
    scan = Scan.objects.create(namespace=namespace, run=run, completed_at=Now())
    Key.objects.bulk_create(
        Key(namespace=namespace, name=name, category="unclassified", first_seen=scan) for name in names
    )


def shown(request: ApprovalRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.evidence)
    return found


def test_a_request_names_its_pattern_and_waits_for_a_reviewer(world: GateWorld) -> None:
    request = asked(world.people)
    change = PreparedChange.objects.get(approval=request)
    assert (request.kind, request.title, request.requester) == (
        "family", "Register the key family SETTINGS session:* as cache", world.people.operator,
    )  # fmt: skip
    assert (change.kind, change.about, change.summary) == ("family", "SETTINGS prefix session:", request.title)
    assert (json.loads(change.definition), change.prepared_by) == (DATA, str(world.people.operator))
    assert FamilyRegistration.stored(change) == registration()
    with pytest.raises(ApprovalRefused, match="already asks for this"):
        asked(world.people)


def test_open_and_registered_families_are_told_apart(world: GateWorld) -> None:
    first = asked(world.people, pattern="b:", sample_key="b:1")
    second = asked(world.people, pattern="a:", sample_key="a:1")
    third = asked(world.people, pattern="c:", sample_key="c:1")
    fourth = asked(world.people, pattern="d:", sample_key="d:1")
    approval_gate.withdraw(third, by=world.people.operator)
    make.prepared_policy()
    assert [one.approval for one in registrations.open_registrations()] == [first, second, fourth]
    assert registrations.registered() == []
    for request in (first, second):
        policy.use_change(approved(request, world.people), by=world.people.operator)
    assert [one.approval for one in registrations.open_registrations()] == [fourth]
    assert [one.pattern for one in registrations.registered()] == ["a:", "b:"]


def test_without_a_policy_nothing_is_registered(world: GateWorld) -> None:
    with gate.past_the_triggers():
        PolicyVersion.objects.all().delete()
    with pytest.raises(ApprovalRefused, match="There is no policy yet"):
        asked(world.people)


SECRETS = [
    {"shape": '{"token": "a8Fk3Lq9"}'},
    {"note": "AKIA1234ABCD5678EFGH"},
    {"feature": "AKIA1234ABCD5678EFGH"},
    {"sample_key": "session:AKIA1234ABCD5678EFGH"},
    {"review": "https://me:pass@wiki.example.com"},
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_text_that_looks_like_a_secret_is_not_kept(world: GateWorld, secret: dict[str, str]) -> None:
    with pytest.raises(ApprovalRefused, match="looks like a secret"):
        asked(world.people, **secret)
    assert not PreparedChange.objects.exists()


def test_the_reviewer_is_shown_the_family_and_its_effect(world: GateWorld) -> None:
    make.family("sess", Category.CACHE, expiry="regenerate", owner="team")
    make.family("session:x:", Category.CACHE, expiry="regenerate")
    make.family("session:x:", Category.CACHE, exact=True, expiry="regenerate")
    listed(world.qa, "session:1", "session:2", "session:x:1")
    request = asked(world.people)
    found, parent = shown(request), Family.objects.get(pattern="sess")
    assert (found["format"], found["action"], found["prepared_by"]) == (
        3,
        "register_family",
        str(world.people.operator),
    )
    assert (found["change"], found["from"]) == (PreparedChange.objects.get().pk, policy.shown())
    assert {name: found[name] for name in ANSWERS} == ANSWERS
    assert {name: found["family"][name] for name in ("pattern", "category", "expiry", "owner")} == {
        "pattern": "session:", "category": "cache", "expiry": "ttl:3600", "owner": "platform",
    }  # fmt: skip
    assert found["takes_from"] == {
        "family": "SETTINGS sess*", "id": parent.pk, "category": "cache", "encrypt": False, "read": "bulk",
        "retain_days": parent.retain_days, "interval_hours": parent.interval_hours,
    }  # fmt: skip
    inside = ["SETTINGS session:x:", "SETTINGS session:x:*"]
    assert (found["inside"]["count"], sorted(found["inside"]["list"])) == (2, inside)
    named = canonical_evidence.canonical_evidence({"families": found["inside"]["list"]})
    assert found["inside"]["sha256"] == canonical_evidence.digest_of(named)
    assert found["sample"] == {"was": "SETTINGS sess*", "will": "SETTINGS session:*"}
    assert [(row["environment"], row["keys"], row["recategorised"]) for row in found["keys"]] == [
        ("qa", 2, 0), ("production", 0, 0),
    ]  # fmt: skip
    assert (found["changes"], found["risks"]) == ({}, [])


def test_a_family_of_unclassified_keys_takes_from_none(world: GateWorld) -> None:
    listed(world.qa, "session:1")
    found = shown(asked(world.people))
    assert found["takes_from"] == {"family": "", "id": None, "category": "unclassified"}
    assert found["sample"] == {"was": "", "will": "SETTINGS session:*"}
    assert found["changes"] == {"encrypt": [True, False]}
    assert [row["unmasked"] for row in found["keys"]] == [1, 0]


def test_an_exact_name_has_no_family_inside(world: GateWorld) -> None:
    make.family("session:x:", Category.CACHE, expiry="regenerate")
    assert shown(asked(world.people, exact=True, sample_key="session:"))["inside"]["count"] == 0


def test_families_of_other_bindings_and_patterns_are_not_inside(world: GateWorld) -> None:
    Family.objects.create(binding="OTHER", pattern="session:x:", category="cache", owner="x", expiry="regenerate")
    make.family("sessions", Category.CACHE, expiry="regenerate")
    assert shown(asked(world.people))["inside"]["list"] == []


def test_many_families_inside_are_counted_and_the_first_are_named(world: GateWorld) -> None:
    Family.objects.bulk_create(
        Family(binding="SETTINGS", pattern=f"session:{number:02}", category="cache", owner="x", expiry="regenerate")
        for number in range(21)
    )
    make.keep_policy()
    inside = shown(asked(world.people))["inside"]
    assert (inside["count"], len(inside["list"])) == (21, 20)


def test_old_keys_that_become_legacy_are_a_risk_by_name(world: GateWorld) -> None:
    listed(world.qa, "session:1")
    request = asked(world.people, category="legacy", expiry="none")
    assert shown(request)["risks"] == ["legacy_found"]


def test_the_effect_of_another_rule_of_the_parent_is_told(world: GateWorld) -> None:
    make.family("sess", Category.CACHE, expiry="regenerate", read="exact")
    make.change_families("sess", retain_days=20, interval_hours=24)
    found = shown(asked(world.people))
    assert set(found["changes"]) <= {"read", "retain_days", "interval_hours", "encrypt"}
    assert found["takes_from"]["interval_hours"] == 24


# After another policy


def used(world: GateWorld, pattern: str, sample_key: str) -> None:
    """Another family came first."""
    request = asked(world.people, pattern=pattern, sample_key=sample_key)
    policy.use_change(approved(request, world.people), by=world.people.operator)


def winner(world: GateWorld) -> None:
    used(world, "sess", "session:1")


def overlap(world: GateWorld) -> None:
    used(world, "session:x:", "session:x:1")


def numbers(world: GateWorld) -> None:
    used(world, "basket:", "basket:1")
    listed(world.qa, "session:8", "session:9")


def rules(world: GateWorld) -> None:
    make.change_families("sess", retain_days=20)


def sample(world: GateWorld) -> None:
    used(world, "session:5f", "session:5f1")


OVERLAP = "Policy {} came first, and other families win or overlap now. Submit the family anew."
FIRST: list[tuple[Callable[[GateWorld], None], str, bool]] = [
    (winner, OVERLAP, False),
    (overlap, OVERLAP, False),
    (sample, OVERLAP, False),
    (numbers, "Policy {} came first, and other numbers of keys are concerned now. Submit the family anew.", False),
    (
        rules,
        "Policy {} came first, and the family that its keys come from has other rules now. Submit the family anew.",
        True,
    ),
]


@pytest.mark.parametrize(("change", "sentence", "parent"), FIRST)
def test_another_effect_must_be_submitted_anew(
    world: GateWorld, change: Callable[[GateWorld], None], sentence: str, parent: bool
) -> None:
    if parent:
        make.family("sess", Category.CACHE, expiry="regenerate")
    listed(world.qa, "session:1", "session:x:1")
    request = asked(world.people)
    change(world)
    told = sentence.format(PolicyVersion.objects.latest("number").number)
    found, why = family_evidence.effect_now(request)
    assert found is not None
    assert (found["from"], str(why), str(family_evidence.why_not(request))) == (policy.shown(), told, told)
    with pytest.raises(EffectChanged):
        prepared_changes.evidence(PreparedChange.objects.get(approval=request))
    with pytest.raises(ApprovalRefused, match=told.replace(".", r"\.")):
        approved(request, world.people)
    newer = family_requests.submit_anew(request, by=world.people.operator)
    request.refresh_from_db()
    assert (request.state, request.reason) == (
        "withdrawn", "Submitted anew, because another policy came first.",
    )  # fmt: skip
    assert (shown(newer)["from"], FamilyRegistration.stored(PreparedChange.objects.get(approval=newer))) == (
        policy.shown(), registration(),
    )  # fmt: skip
    assert family_evidence.why_not(newer) == ""


def test_an_unrelated_policy_and_a_scan_leave_the_request_valid(world: GateWorld) -> None:
    listed(world.qa, "session:1")
    request = asked(world.people)
    listed(world.qa)
    assert (family_evidence.effect_now(request), family_evidence.why_not(request)) == ((None, ""), "")
    used(world, "basket:", "basket:1")
    found, why = family_evidence.effect_now(request)
    assert found is not None
    assert (found["from"], found["keys"][0]["keys"], why, family_evidence.why_not(request)) == (
        policy.shown(), 1, "", "",
    )  # fmt: skip
    with pytest.raises(ApprovalRefused, match="The effect is as submitted, so the request stays valid"):
        family_requests.submit_anew(request, by=world.people.operator)
    policy.use_change(approved(request, world.people), by=world.people.operator)
    assert Family.objects.get(pattern="session:").registration == PreparedChange.objects.get(approval=request)


def test_counts_of_an_approved_request_are_those_that_were_shown(world: GateWorld) -> None:
    listed(world.qa, "session:1")
    request = approved(asked(world.people), world.people)
    listed(world.qa, "session:2")
    change = PreparedChange.objects.get(approval=request)
    assert prepared_changes.evidence(change)["keys"] == shown(request)["keys"]


def test_a_request_that_is_over_is_not_submitted_anew(world: GateWorld) -> None:
    request = asked(world.people)
    approval_gate.withdraw(request, by=world.people.operator)
    request.refresh_from_db()
    with pytest.raises(ApprovalRefused, match="The request is over"):
        family_requests.submit_anew(request, by=world.people.operator)


def test_an_approved_request_is_submitted_anew(world: GateWorld) -> None:
    request = approved(asked(world.people), world.people)
    overlap(world)
    newer = family_requests.submit_anew(request, by=world.people.operator)
    assert (newer.state, shown(newer)["inside"]["list"]) == ("pending", ["SETTINGS session:x:*"])


def test_an_edited_policy_stops_a_registration(world: GateWorld) -> None:
    request = asked(world.people)
    Family.objects.filter(pattern="master:").update(retain_days=15)
    assert family_evidence.why_not(request) == policy.why_edited()
    assert policy.why_edited()


def test_the_times_of_scans_are_times_on_pages(world: GateWorld) -> None:
    listed(world.qa, "session:1")
    found = family_evidence.with_times(shown(asked(world.people)))
    at = [row["scanned"]["at"] for row in found["keys"]]
    assert (at[0], at[1]) == (Scan.objects.get().completed_at, None)
    assert found["keys"][0]["keys"] == 1
