"""What changes of the policy and of key families say about themselves."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _, ngettext

from backups import policy
from backups.families import evidence
from kvops.approvals import prepared_changes
from kvops.approvals.lines import EvidenceLine, Shown, part
from kvops.approvals.titles import number_of
from kvops.models import ApprovalRequest, Category
from kvops.names import visible
from kvops.operations.parts import Operation, RequestKind


def _policy_title(_asked: ApprovalRequest, shown: Mapping[str, Any], _environment: str) -> str:
    rules = shown["difference"]["count"]
    text = ngettext(
        "Change the policy: %(n)s family or dataset", "Change the policy: %(n)s families and datasets", rules
    )
    return text % {"n": number_of(rules)}


def _family_title(_asked: ApprovalRequest, shown: Mapping[str, Any], _environment: str) -> str:
    family = shown["family"]
    return _("Register the key family %(family)s as %(category)s") % {
        "family": visible(f"{family['binding']} {family['pattern']}") + ("" if family["exact"] else "*"),
        "category": Category(family["category"]).label,
    }


def _reviewed_design(shown: Shown) -> EvidenceLine:
    said = _("owner: %(owner)s") % {"owner": part(shown, "family.owner") or "–"}
    return EvidenceLine(_("Design reviewed"), said, bool(shown.get("review")), "approvals/lines/_design.html")


OPERATION = Operation(
    requests={
        ApprovalRequest.Kind.POLICY: RequestKind(
            _policy_title,
            decided=prepared_changes.change_decided,
            use=policy.use_change,
            evidence=policy.change_evidence,
            why_not=policy.why_edited,
        ),
        ApprovalRequest.Kind.FAMILY: RequestKind(
            _family_title,
            lines=[_reviewed_design],
            decided=prepared_changes.change_decided,
            use=policy.use_change,
            evidence=evidence.family_evidence,
            why_not=evidence.why_not,
        ),
    },
)
