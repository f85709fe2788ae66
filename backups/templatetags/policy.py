"""A change of the policy on the pages of approvals and categories: `{% load policy %}`."""

import json
from collections.abc import Mapping

from django import template

from backups import policy
from kvops.approvals import evidence
from kvops.inventory import differences
from kvops.models import ApprovalRequest, PreparedChange

register = template.Library()

SHOWN = 20
"""Families and datasets; the rest unfolds."""


@register.inclusion_tag("approvals/_rules.html")
def policy_difference(change: PreparedChange) -> dict[str, object]:
    """Every family and dataset that a change adds, removes or changes."""
    rules = [differences.words(one) for one in policy.difference(change)]
    return {"first": rules[:SHOWN], "rest": rules[SHOWN:], "count": len(rules)}


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
