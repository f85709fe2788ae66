"""The kinds of approvals: the feature that hears a decision, and the one that uses an approval from its page."""

from dataclasses import dataclass

from kvops.models import ApprovalRequest


@dataclass(frozen=True)
class ApprovalKind:
    """Functions by name.

    `decided` hears each decision in its transaction, `use` applies an approval from its page, and `evidence` derives
    the evidence of a prepared change. `why_not` takes a request and gives the reason why it cannot be approved now, or
    an empty text. `owners` takes a request and gives the owners of its subject, who are told of it.
    """

    decided: str = ""
    why_not: str = ""
    use: str = ""
    evidence: str = ""
    owners: str = ""


_EDITED = "backups.policy.why_edited"

KINDS: dict[str, ApprovalKind] = {
    ApprovalRequest.Kind.DELETE_KEYS: ApprovalKind(
        decided="backups.cleanup.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.ENVIRONMENT: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="kvops.environments.apply.use_change",
        evidence="kvops.approvals.prepared_changes.definition_evidence",
    ),
    ApprovalRequest.Kind.POLICY: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="backups.policy.use_change",
        evidence="backups.policy.change_evidence",
        why_not=_EDITED,
    ),
    ApprovalRequest.Kind.FAMILY: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="backups.policy.use_change",
        evidence="backups.families.evidence.family_evidence",
        why_not="backups.families.evidence.why_not",
    ),
    ApprovalRequest.Kind.RELEASE_STOP: ApprovalKind(use="kvops.approvals.emergency_release.use"),
    ApprovalRequest.Kind.RESTORE: ApprovalKind(decided="backups.restores.requests.decided", why_not=_EDITED),
    ApprovalRequest.Kind.DELETE_GENERATIONS: ApprovalKind(
        decided="backups.retention.requests.decided", why_not=_EDITED
    ),
    ApprovalRequest.Kind.DRILL: ApprovalKind(),
    ApprovalRequest.Kind.INVESTIGATION: ApprovalKind(),
    ApprovalRequest.Kind.PUT_KEY: ApprovalKind(
        decided="backups.changes.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.CLEARING: ApprovalKind(why_not=_EDITED),
    ApprovalRequest.Kind.BULK_CHANGE: ApprovalKind(
        decided="backups.changes.bulk.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.WORKER_EXPIRY: ApprovalKind(why_not=_EDITED),
}
"""Kind -> functions by name, so that `kvops` does not import the apps above it. A system check resolves each name."""
