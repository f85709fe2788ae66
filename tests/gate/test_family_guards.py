"""The evidence of a registered family and when it must be submitted anew, without a row."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from audit import log
from backups import policy
from backups.families import evidence as family_evidence, requests as family_requests
from backups.families.evidence import EffectChanged
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.approvals.evidence import canonical_evidence
from kvops.approvals.gate import ApprovalRefused
from kvops.environments.toml import DefinitionRefused
from kvops.inventory import impact
from kvops.inventory.families import FamilyDefinition
from kvops.inventory.registration import FamilyRegistration
from kvops.models import Family, PolicyVersion, PreparedChange
from tests.backups.families.registering import registration

CHANGE: Any = SimpleNamespace(pk=6, prepared_by="Olga", approval=None)
V1, V2 = {"version": 1, "digest": "1"}, {"version": 2, "digest": "2"}
FOUND: dict[str, Any] = {
    "takes_from": {"family": "SETTINGS sess*", "id": 3, "category": "cache", "encrypt": False},
    "inside": {"count": 0},
    "sample": {"was": "", "will": "x"},
    "risks": [],
    "keys": [{"environment": "qa", "keys": 2, "scan": 8, "scanned": {"at": "2026-11-30T00:00:00+00:00"}}],
}
RULES = "Policy 2 came first, and the family that its keys come from has other rules now. Submit the family anew."
WINNERS = "Policy 2 came first, and other families win or overlap now. Submit the family anew."
NUMBERS = "Policy 2 came first, and other numbers of keys are concerned now. Submit the family anew."


def family(pattern: str = "session:", **values: Any) -> FamilyDefinition:
    return replace(registration().family, pattern=pattern, **values)


@pytest.fixture
def in_force(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The policy in force, the effect as it is found, and what was asked for."""
    found = SimpleNamespace(shown=V1, effect=FOUND, counted=list[object](), edited="")

    def effect(of: FamilyRegistration, *, count: bool = True) -> dict[str, Any]:
        found.counted.append((of, count))
        return found.effect  # type: ignore[no-any-return]

    def stored(change: object) -> FamilyRegistration:
        assert change is CHANGE
        return registration()

    monkeypatch.setattr(policy, "shown", lambda: found.shown)
    monkeypatch.setattr(policy, "why_edited", lambda: found.edited)
    monkeypatch.setattr(family_evidence, "effect", effect)
    monkeypatch.setattr(FamilyRegistration, "stored", stored)
    monkeypatch.setattr(CHANGE, "approval", None)
    return found


def submitted(**values: object) -> Any:
    """The request with this evidence."""
    return SimpleNamespace(evidence=json.dumps({**FOUND, "from": V1, **values}), state="pending")


@pytest.fixture
def request_(monkeypatch: pytest.MonkeyPatch, in_force: SimpleNamespace) -> Any:
    """The request of the change, as it was submitted."""
    found = submitted()

    def get(*, approval: object) -> object:
        assert approval is found
        return CHANGE

    monkeypatch.setattr(PreparedChange, "objects", SimpleNamespace(get=get))
    monkeypatch.setattr(CHANGE, "approval", found)
    return found


def test_the_first_evidence_is_the_answers_and_the_effect_with_its_counts(in_force: SimpleNamespace) -> None:
    assert family_evidence.family_evidence(CHANGE) == {
        "format": 3, "action": "register_family", "change": 6, "prepared_by": "Olga", "from": V1,
        **registration().answers(), **FOUND,
    }  # fmt: skip
    assert in_force.counted == [(registration(), True)]


def test_what_was_submitted_keeps_its_counts_and_its_policy(in_force: SimpleNamespace, request_: Any) -> None:
    in_force.effect = {**FOUND, "keys": []}
    found = family_evidence.family_evidence(CHANGE)
    assert (found["keys"], found["from"]) == (FOUND["keys"], V1)
    in_force.shown, in_force.effect = V2, FOUND
    assert family_evidence.family_evidence(CHANGE)["from"] == V1
    assert [count for _of, count in in_force.counted] == [False, True]
    in_force.effect = {**FOUND, "risks": ["legacy_found"]}
    with pytest.raises(EffectChanged) as changed:
        family_evidence.family_evidence(CHANGE)
    assert str(changed.value) == WINNERS
    assert json.loads(request_.evidence)["risks"] == []


DIFFERENCES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"takes_from": {**FOUND["takes_from"], "encrypt": True}}, RULES),
    ({"takes_from": {**FOUND["takes_from"], "id": 4}}, WINNERS),
    ({"inside": {"count": 1}}, WINNERS),
    ({"sample": {"was": "x", "will": "x"}}, WINNERS),
    ({"risks": ["legacy_found"]}, WINNERS),
    ({"keys": [{"environment": "qa", "keys": 3, "scan": 8, "scanned": {"at": ""}}]}, NUMBERS),
    ({"keys": [{**FOUND["keys"][0], "scan": 9, "scanned": {"at": ""}}]}, ""),
    ({"keys": []}, NUMBERS),
]


@pytest.mark.parametrize(("values", "sentence"), DIFFERENCES)
def test_another_effect_under_another_policy_is_submitted_anew(
    in_force: SimpleNamespace, request_: Any, values: dict[str, Any], sentence: str
) -> None:
    in_force.shown, in_force.effect = V2, {**FOUND, **values}
    found, why = family_evidence.effect_now(request_)
    assert (found, str(why)) == ({**FOUND, **values, "from": V2}, sentence)
    assert in_force.counted == [(registration(), True)]
    assert str(family_evidence.why_not(request_)) == sentence


def test_under_the_same_policy_the_counts_do_not_matter(in_force: SimpleNamespace, request_: Any) -> None:
    in_force.effect = {**FOUND, "keys": []}
    assert family_evidence.effect_now(request_) == (None, "")
    assert in_force.counted == []
    assert family_evidence.why_not(request_) == ""
    in_force.edited = "edited"
    assert family_evidence.why_not(request_) == "edited"


def test_the_times_of_scans_are_times_on_pages() -> None:
    found = family_evidence.with_times({"risks": [], "keys": [*FOUND["keys"], {"scanned": {"at": ""}, "keys": 0}]})
    first = {**FOUND["keys"][0], "scanned": {"at": datetime(2026, 11, 30, tzinfo=UTC)}}
    assert found == {"risks": [], "keys": [first, {"scanned": {"at": None}, "keys": 0}]}


# The effect


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows of families are named, and so are the counts."""

    def get(**of: object) -> SimpleNamespace:
        assert sorted(of) == ["binding", "exact", "pattern"]
        return SimpleNamespace(pk=f"row of {of['binding']} {of['pattern']} {of['exact']}")

    def names(families: tuple[FamilyDefinition, ...]) -> list[str]:
        return [str(one) for one in families]

    def counted(
        before: tuple[FamilyDefinition, ...], after: tuple[FamilyDefinition, ...], most: int
    ) -> list[dict[str, list[str]]]:
        assert most == impact.MOST
        return [{"before": names(before), "after": names(after)}]

    monkeypatch.setattr(Family, "objects", SimpleNamespace(get=get))
    monkeypatch.setattr(impact, "taken", counted)
    return list[str]()


def effect_of(
    monkeypatch: pytest.MonkeyPatch, *before: FamilyDefinition, refuse: bool = False, **changes: Any
) -> dict[str, Any]:
    """The effect of the registration on these families."""

    def insist() -> None:
        if refuse:
            raise DefinitionRefused("not allowed")

    def with_family(one: FamilyDefinition) -> SimpleNamespace:
        families = (*before, impact.inheriting(one, before))
        return SimpleNamespace(families=families, insist_allowed=insist)

    found = SimpleNamespace(families=before, with_family=with_family)
    monkeypatch.setattr(family_evidence, "Policy", SimpleNamespace(in_force=lambda: found))
    count = changes.pop("count", True)
    return family_evidence.effect(registration(**changes), count=count)


@pytest.mark.usefixtures("asked")
def test_the_effect_names_parent_winners_and_the_families_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    wider = family("sess", read="bulk", encrypt=True, retain_days=40)
    inside = [family(f"session:{number:02}") for number in range(21)]
    others = [family("session:x", binding="OTHER"), family("other")]
    found = effect_of(monkeypatch, wider, *inside, *others)
    mine, names = registration().family, [str(one) for one in inside]
    assert found["family"] == asdict(replace(mine, read="bulk", encrypt=True))
    assert found["takes_from"] == {
        "family": "SETTINGS sess*", "id": "row of SETTINGS sess False", "category": "cache", "encrypt": True,
        "read": "bulk", "retain_days": 40, "interval_hours": wider.interval_hours,
    }  # fmt: skip
    assert found["changes"] == {"retain_days": [40, mine.retain_days]}
    digest = sha256(canonical_evidence({"families": names}).encode()).hexdigest()
    assert found["inside"] == {"count": 21, "sha256": digest, "list": names[:20]}
    assert found["sample"] == {"was": "SETTINGS sess*", "will": "SETTINGS session:*"}
    before = [str(one) for one in (wider, *inside, *others)]
    assert (found["keys"], found["risks"]) == ([{"before": before, "after": [*before, "SETTINGS session:*"]}], [])


@pytest.mark.usefixtures("asked")
def test_keys_of_no_family_were_unclassified_and_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = effect_of(monkeypatch, count=False)
    assert found["takes_from"] == {"family": "", "id": None, "category": "unclassified"}
    assert (found["changes"], found["keys"]) == ({"encrypt": [True, False]}, [])
    assert found["sample"] == {"was": "", "will": "SETTINGS session:*"}
    assert effect_of(monkeypatch, category="legacy")["risks"] == ["legacy_found"]
    with pytest.raises(DefinitionRefused, match="not allowed"):
        effect_of(monkeypatch, refuse=True)


def test_the_families_inside_are_those_of_the_binding_with_a_longer_pattern() -> None:
    mine = family()
    name = family(exact=True)
    families = (mine, name, family("session:a"), family("sessions"), family("session:b", binding="OTHER"))
    assert impact.overlapped(families, mine) == [name, family("session:a")]
    assert impact.overlapped(families, name) == []


# Asking


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, request_: Any) -> SimpleNamespace:
    """What was withdrawn and asked for; with a policy."""
    found = SimpleNamespace(policies=True, done=list[object]())
    monkeypatch.setattr(log, "transaction", nullcontext)
    monkeypatch.setattr(PolicyVersion, "objects", SimpleNamespace(exists=lambda: found.policies))

    def ask(*what: object, **how: object) -> str:
        found.done.append((what, how))
        return "asked"

    def withdraw(*what: object, **how: object) -> None:
        found.done.append((what, {**how, "reason": str(how["reason"])}))

    monkeypatch.setattr(prepared_changes, "ask", ask)
    monkeypatch.setattr(approval_gate, "withdraw_within", withdraw)
    return found


BY: Any = object()
ASKED = (
    ("family",),
    {
        "about": "SETTINGS prefix session:", "definition": registration().as_data(),
        "summary": "Register the key family SETTINGS session:* as cache", "by": BY,
    },
)  # fmt: skip


def refused(request: Any) -> str:
    with pytest.raises(ApprovalRefused) as error:
        family_requests.submit_anew(request, by=BY)
    return str(error.value)


def test_a_family_is_asked_for_under_its_pattern(requests: SimpleNamespace) -> None:
    found: Any = family_requests.register(registration(), by=BY)
    assert (found, requests.done) == ("asked", [ASKED])
    requests.policies = False
    with pytest.raises(ApprovalRefused) as error:
        family_requests.register(registration(), by=BY)
    assert str(error.value) == "There is no policy yet. Run manage.py apply_policy first."


SECRET = "A text looks like a secret. The request is kept for ever, so write a name or a type in its place."


@pytest.mark.parametrize(
    "values",
    [{"shape": '{"token": "a8Fk3Lq9"}'}, {"note": "password: a8Fk3Lq9"}, {"feature": "AKIA1234ABCD5678EFGH"},
     {"sample_key": "session:AKIA1234ABCD5678EFGH"}, {"review": "https://me:pass@wiki.example.com"}],
)  # fmt: skip
def test_no_answer_holds_a_secret(requests: SimpleNamespace, values: dict[str, str]) -> None:
    with pytest.raises(ApprovalRefused) as error:
        family_requests.register(registration(**values), by=BY)
    assert (str(error.value), requests.done) == (SECRET, [])


@pytest.mark.parametrize("state", ["pending", "approved"])
def test_an_open_request_with_another_effect_is_withdrawn_and_asked_anew(
    requests: SimpleNamespace, in_force: SimpleNamespace, request_: Any, state: str
) -> None:
    request_.state = state
    assert refused(request_) == "The effect is as submitted, so the request stays valid."
    in_force.shown, in_force.effect = V2, {**FOUND, "keys": []}
    found: Any = family_requests.submit_anew(request_, by=BY)
    assert found == "asked"
    withdrawn = ((request_,), {"by": BY, "reason": "Submitted anew, because another policy came first."})
    assert requests.done == [withdrawn, ASKED]


@pytest.mark.parametrize("state", ["used", "rejected", "withdrawn", "expired"])
def test_a_request_that_is_over_is_not_submitted_anew(requests: SimpleNamespace, request_: Any, state: str) -> None:
    request_.state = state
    assert (refused(request_), requests.done) == ("The request is over. Register the family again.", [])
