"""The operation of changes of the policy and of key families."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy as _, ngettext, pgettext_lazy

from backups import policy
from backups.families import evidence
from kvops.approvals import prepared_changes
from kvops.approvals.lines import EvidenceLine, Shown, part
from kvops.approvals.titles import number_of
from kvops.models import ApprovalRequest, Category, PolicyVersion
from kvops.names import typeable, visible
from kvops.operations import looks
from kvops.operations.parts import FeatureOperation, Question, RequestKind, TypedWord
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm


def _policy_title(_asked: ApprovalRequest, shown: Mapping[str, Any], _environment: str) -> str:
    rules = shown["difference"]["count"]
    text = ngettext(
        "Change the policy: %(n)s family or dataset", "Change the policy: %(n)s families and datasets", rules
    )
    return text % {"n": number_of(rules)}


def _family_title(_asked: ApprovalRequest, shown: Mapping[str, Any], _environment: str) -> str:
    family = shown["family"]
    return gettext("Register the key family %(family)s as %(category)s") % {
        "family": visible(f"{family['binding']} {family['pattern']}") + ("" if family["exact"] else "*"),
        "category": Category(family["category"]).label,
    }


def _reviewed_design(shown: Shown) -> EvidenceLine:
    said = gettext("owner: %(owner)s") % {"owner": part(shown, "family.owner") or "–"}
    return EvidenceLine(gettext("Design reviewed"), said, bool(shown.get("review")), "approvals/lines/_design.html")


def _next_version(_shown: Mapping[str, Any]) -> str:
    newest = PolicyVersion.objects.order_by("-number").values_list("number", flat=True).first() or 0
    return f"policy {newest + 1}"


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """An alarm if families or datasets in the database are not as approved."""
    if sentence := policy.why_edited():
        title, address = gettext("The policy was changed without an approval"), reverse("categories")
        yield Alarm("danger", "policy.edited", title, str(sentence), address, gettext("See details"))


OPERATION = FeatureOperation(
    requests={
        ApprovalRequest.Kind.POLICY: RequestKind(
            _policy_title,
            TypedWord(_("New version of the policy"), _next_version),
            decided=prepared_changes.change_decided,
            use=policy.use_change,
            evidence=policy.change_evidence,
            why_not=policy.why_edited,
        ),
        ApprovalRequest.Kind.FAMILY: RequestKind(
            _family_title,
            TypedWord(_("Pattern of the family"), lambda shown: typeable(str(shown["family"]["pattern"]))),
            lines=[_reviewed_design],
            decided=prepared_changes.change_decided,
            use=policy.use_change,
            evidence=evidence.family_evidence,
            why_not=evidence.why_not,
        ),
    },
    alarms=[alarms],
    answers={Question.POLICY_EDITED: policy.why_edited},
    states={
        "rule_added": looks.Look(pgettext_lazy("rule", "Added"), "green", "plus"),
        "rule_removed": looks.Look(pgettext_lazy("rule", "Removed"), "red", "minus"),
        "rule_changed": looks.Look(pgettext_lazy("rule", "Changed"), "azure", "pencil"),
    },
)
