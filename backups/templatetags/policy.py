"""A change of the policy on the pages of approvals and categories: `{% load policy %}`."""

import json
from collections.abc import Mapping
from dataclasses import replace

from django import template

from backups import policy
from backups.families import evidence as family_evidence, operation as family_operation, requests as family_requests
from backups.policy import Policy
from kvops.approvals import evidence
from kvops.approvals.gate import ApprovalRefused
from kvops.inventory import differences, registration
from kvops.models import ApprovalRequest, Family, PolicyVersion, PreparedChange
from kvops.overview.estate import Estate

register = template.Library()

SHOWN = 20
"""Families and datasets; the rest unfolds."""


@register.simple_tag
def policy_in_force() -> Policy:
    """The families and datasets in force, read once for a page."""
    return Policy.in_force()


@register.inclusion_tag("includes/alarms.html")
def policy_edited(version: PolicyVersion | None, in_force: Policy) -> dict[str, object]:
    """The alarm on the page of the policy itself, which read the newest version and then the policy in force."""
    edited = version and policy.why_not_as(version.number, version.definition, in_force)
    # If they differ, another version may have come between the two reads.
    return {"alarms": [replace(one, url="") for one in family_operation.alarms(Estate())] if edited else []}


@register.inclusion_tag("approvals/_rules.html")
def policy_difference(change: PreparedChange, in_force: Policy | None = None) -> dict[str, object]:
    """Every family and dataset that a change adds, removes or changes."""
    rules = [differences.words(one) for one in policy.difference(change, in_force or None)]
    return {"first": rules[:SHOWN], "rest": rules[SHOWN:], "count": len(rules)}


@register.inclusion_tag("categories/open_registrations.html")
def open_registrations() -> dict[str, object]:
    """The families that wait for a decision, or for their use."""
    return {"changes": registration.open_registrations()}


@register.inclusion_tag("categories/origin.html")
def origin_of(family: Family) -> dict[str, object]:
    """For a family that was registered on the page, its feature, its design review and its approval."""
    change = family.registration
    return {"change": change, "told": json.loads(change.definition) if change else {}}


@register.inclusion_tag("approvals/_family.html")
def family_request(approval: ApprovalRequest, asked: Mapping[str, object], *, may_operate: bool) -> dict[str, object]:
    """A family for its reviewer: the evidence `asked`, and the effect now if another policy came first."""
    now: Mapping[str, object] | None = None
    differs: object = ""
    is_open = approval.state in family_requests.OPEN
    if is_open:
        try:
            found, differs = family_evidence.effect_now(approval)
            now = family_evidence.with_times(found) if found else None
        except ApprovalRefused as refused:
            differs = refused.args[0]
    return {
        "approval": approval,
        "evidence": asked,
        "now": now,
        "differs": differs,
        "is_open": is_open,
        "may_operate": may_operate,
    }


@register.inclusion_tag("approvals/_policy_change.html")
def policy_change(approval: ApprovalRequest, asked: Mapping[str, object]) -> dict[str, object]:
    """A change of the policy for its reviewer: the evidence `asked`, and the whole definition beside it."""
    change = PreparedChange.objects.select_related("approval").filter(approval=approval).first()
    intact = change is not None and json.loads(approval.evidence)["to"]["sha256"] == evidence.digest_of(
        change.definition
    )
    return {
        "evidence": asked,
        "change": change if intact else None,
        "definition": json.dumps(json.loads(change.definition), indent=2, ensure_ascii=False)
        if change and intact
        else "",
    }
