"""The evidence of a registered family, and the comparison with the policy that is in force when it is used.

A request holds its family and the version of the policy that it was made from. Another version may come first. Then
pattern, winners and counts are derived again: if they are as submitted the request stays valid, else it must be
submitted anew.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups import policy
from backups.policy import Policy
from kvops.approvals.evidence import canonical_evidence
from kvops.approvals.gate import ApprovalRefused
from kvops.inventory import impact
from kvops.inventory.families import FamilyDefinition
from kvops.inventory.registration import FamilyRegistration
from kvops.models import ApprovalRequest, Family, PreparedChange
from kvops.wording import say

FORMAT = 3
"""The version of the rules that derive this evidence; it is part of the digest."""
NAMED = 20
"""Families inside the pattern that the evidence names. Their number and digest cover all of them."""
_OF_A_SCAN = {"scan", "scanned"}

type Effect = dict[str, Any]


class EffectChanged(ApprovalRefused):
    """Another version of the policy came first, and the family would have another effect than the one submitted."""


def family_evidence(change: PreparedChange) -> dict[str, object]:
    """The evidence of a registered family. All but the counts is derived again. Raises ApprovalRefused."""
    registration = FamilyRegistration.stored(change)
    asked = json.loads(change.approval.evidence) if change.approval else {}
    made_from = policy.shown()
    found = effect(registration, count=not asked or asked["from"] != made_from)
    if asked and (sentence := _difference(asked, found, made_from)):
        raise EffectChanged(sentence)
    return {
        "format": FORMAT,
        "action": "register_family",
        "change": change.pk,
        "prepared_by": change.prepared_by,
        "from": asked.get("from", made_from),
        **registration.answers(),
        **found,
        "keys": asked.get("keys", found["keys"]),
    }


def effect(registration: FamilyRegistration, *, count: bool = True) -> Effect:
    """The family as it joins the policy in force, with its winners, overlaps and counts. Raises DefinitionRefused."""
    before = Policy.in_force()
    after = before.with_family(registration.family)
    after.insist_allowed()
    [family] = [one for one in after.families if one.key == registration.family.key]
    parent = impact.parent(family, before.families)
    inside = [str(one) for one in impact.overlapped(before.families, family)]
    return {
        "family": asdict(family),
        "takes_from": _parent(parent),
        "changes": _changes(parent, family),
        "inside": {"count": len(inside), "sha256": _digest(inside), "list": inside[:NAMED]},
        "sample": {
            "was": _name(impact.winner(family.binding, before.families, registration.sample_key)),
            "will": _name(impact.winner(family.binding, after.families, registration.sample_key)),
        },
        "keys": impact.taken(before.families, after.families, impact.MOST) if count else [],
        "risks": ["legacy_found"] if impact.become_legacy(before.families, after.families) else [],
    }


def why_not(request: ApprovalRequest) -> str | Promise:
    """The reason why the request cannot be approved now; empty if it can."""
    if edited := policy.why_edited():
        return edited
    try:
        family_evidence(PreparedChange.objects.get(approval=request))
    except ApprovalRefused as refused:
        sentence: str | Promise = refused.args[0]
        return sentence
    return ""


def effect_now(request: ApprovalRequest) -> tuple[Effect | None, str | Promise]:
    """If another version of the policy came first: the effect as it is now, and the reason to submit anew, or empty.

    Without another version, None and an empty reason. Raises DefinitionRefused if the family can no longer be added.
    """
    asked, made_from = json.loads(request.evidence), policy.shown()
    if asked["from"] == made_from:
        return None, ""
    change = PreparedChange.objects.get(approval=request)
    found = effect(FamilyRegistration.stored(change))
    return {**found, "from": made_from}, _difference(asked, found, made_from)


def with_times(found: Effect) -> Effect:
    """The effect with the times of its scans as times, for pages."""
    rows = [{**row, "scanned": {"at": _moment(row["scanned"]["at"])}} for row in found["keys"]]
    return {**found, "keys": rows}


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _difference(asked: Mapping[str, Any], found: Effect, made_from: Mapping[str, object]) -> str:
    """The sentence that says which part of the effect differs from the submitted one; empty if none does."""
    number = made_from["version"]
    if asked["takes_from"] != found["takes_from"] and asked["takes_from"]["id"] == found["takes_from"]["id"]:
        return say(
            _(
                "Policy %(number)s came first, and the family that its keys come from has other rules now. Submit the "
                "family anew."
            ),
            number=number,
        )
    for part in ("takes_from", "inside", "sample", "risks"):
        if asked[part] != found[part]:
            return say(
                _("Policy %(number)s came first, and other families win or overlap now. Submit the family anew."),
                number=number,
            )
    if asked["from"] != made_from and _counts(asked) != _counts(found):
        return say(
            _("Policy %(number)s came first, and other numbers of keys are concerned now. Submit the family anew."),
            number=number,
        )
    return ""


def _counts(evidence: Mapping[str, Any]) -> list[dict[str, object]]:
    """The counts without the scans that they come from."""
    return [{name: value for name, value in row.items() if name not in _OF_A_SCAN} for row in evidence["keys"]]


def _name(family: FamilyDefinition | None) -> str:
    return str(family) if family else ""


def _parent(family: FamilyDefinition | None) -> dict[str, object]:
    """The family that owns the names until now. Its row is named, so that its keys can be listed."""
    if family is None:
        return {"family": "", "id": None, "category": "unclassified"}
    row = Family.objects.get(binding=family.binding, pattern=family.pattern, exact=family.exact)
    return {"family": str(family), "id": row.pk, "category": family.category, **_rules(family)}


def _rules(family: FamilyDefinition) -> dict[str, object]:
    """The rules of a family that protect its values and their backups."""
    plain = {name: getattr(family, name) for name in ("read", "retain_days", "interval_hours")}
    return {"encrypt": impact.encrypted(family), **plain}


def _changes(parent: FamilyDefinition | None, family: FamilyDefinition) -> dict[str, list[object]]:
    """Each of these rules that differs from the rule until now, as [old, new]. Unclassified keys are encrypted."""
    old = _rules(parent) if parent else {"encrypt": impact.encrypted(None)}
    new = _rules(family)
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def _digest(names: list[str]) -> str:
    return sha256(canonical_evidence({"families": names}).encode()).hexdigest()
