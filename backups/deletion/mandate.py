"""The right to delete the keys of a stage: the checks of the approval behind it, at each step and before each chunk.

A clean-up has an approval of its own, used once (`Approved`). A scheduled clearing carries a standing approval and has
the same checks for its rule (`backups.clearing`). The deletion itself is the same.
"""

import json
from typing import Protocol

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups import policy
from backups.bucket import protection as bucket_protection
from backups.cleanup import (
    evidence as cleanup_evidence,
    next_action as cleanup_next,
    qa,
    references as code_references,
    shown_references,
)
from backups.cleanup.stages import CleanupRefused, insist_names, insist_turn, policy_changed
from backups.execution import revalidation
from backups.models import CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest
from kvops.references import look
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError, TryLater
from kvops.wording import say

STALE = gettext_noop(
    "The keys to delete differ from the approved ones. Nothing more is sent: end the deletion early and ask again."
)


class Mandate(Protocol):
    """The checks of a deletion. Each raises RunError, or TryLater while an answer is not known."""

    def insist_target(self, stage: CleanupStage, lease: Lease) -> None:
        """At each step: the run carries the approval of the stage, and the target is the approved one."""

    def insist_as_approved(self, stage: CleanupStage, lease: Lease) -> None:
        """Before the first chunk and every quarter of an hour: all that was approved is derived again."""

    def insist_in_force(self, stage: CleanupStage) -> None:
        """Before each chunk: the policy and the rules are still those of the approval."""

    def insist_rights(self, approval: ApprovalRequest) -> None:
        """Before each chunk: the approval is valid and both people hold their roles. Raises ApprovalRefused."""

    def hold(self, approval: ApprovalRequest) -> None:
        """Within the transaction of an intent: the approval is valid until its commit. Raises ApprovalRefused."""

    def is_careful(self, stage: CleanupStage) -> bool:
        """Whether the run stops after its first chunk until a person resumes it."""


class Approved:
    """The mandate of a clean-up: an approval of exactly its keys, used by its run."""

    def insist_target(self, stage: CleanupStage, lease: Lease) -> None:
        """Check that the approval and its target are still valid."""
        insist_target(stage, lease)

    def insist_as_approved(self, stage: CleanupStage, lease: Lease) -> None:
        """Derive again the evidence shown to the reviewer."""
        insist_as_approved(stage, lease)

    def insist_in_force(self, stage: CleanupStage) -> None:
        """Check that it is still the stage's turn by the approved policy."""
        insist_in_force(stage)

    def insist_rights(self, approval: ApprovalRequest) -> None:
        """Check both people's roles and the emergency stop."""
        approval_gate.still_valid(approval)

    def hold(self, approval: ApprovalRequest) -> None:
        """Hold nothing: a used approval cannot be withdrawn."""

    def is_careful(self, stage: CleanupStage) -> bool:
        """In production, a person checks the application after the first chunk."""
        return stage.environment.production


def insist_target(stage: CleanupStage, lease: Lease) -> None:
    """Check that the approval and its target are still valid."""
    environment, not_carried = stage.environment, gettext_noop("The run does not carry the stage's approval.")
    shown = revalidation.approved(stage.approval, lease, f"stage:{stage.pk}", not_carried)
    if lease.run.environment_id != stage.environment_id or stage.state != CleanupStage.State.DELETING:
        raise RunError("not_approved", gettext_noop("The run is not the one that was started with the approval."))
    if stage.scheduled or stage.request.clearing_id is not None:
        raise RunError("not_approved", gettext_noop("A round of a scheduled clearing has no approval of its own keys."))
    now = {
        "environment": environment.slug,
        "production": environment.production,
        "api": environment.api_base_url,
        "account_id": environment.account_id,
        "namespace_id": stage.namespace.namespace_id,
        "namespace_title": stage.namespace.title,
        "bucket": environment.r2_bucket,
        "prefix": stage.request.prefix,
        "exact": stage.request.exact,
        "only": stage.request.only,
    }
    revalidation.insist_target(now, {"only": {}, **shown})
    if shown["names"]["sha256"] != stage.names_sha256 or shown["generation"]["id"] != stage.generation_id:
        raise RunError("wrong_set", gettext_noop("The list of keys or the backup differs from the approved one."))


def insist_as_approved(stage: CleanupStage, lease: Lease) -> None:
    """Derive again the evidence shown to the reviewer. Raises RunError if it changed."""
    try:
        insist_turn(stage)
        insist_names(stage)
    except CleanupRefused as refused:
        raise RunError("wrong_set", refused) from refused
    lease.renew()
    bucket_protection.ask_when_due(stage.environment, lease.keep)
    look.ask_when_due(stage.environment, lease.keep)
    _insist_known(stage)
    stale = stage.approval is None or cleanup_evidence.evidence_digest(stage) != stage.approval.digest
    if stale:
        # An answer of Cloudflare that grew too old since the first look is no change.
        _insist_known(stage)
    if why := _why_stale(stage) if stale else code_references.lacking(stage):
        raise RunError(cleanup_next.OUTDATED, why)


def _why_stale(stage: CleanupStage) -> str:
    """The reason why the approval no longer fits, with the next step."""
    changed = (policy_changed(stage.approval) or shown_references.changed(stage)) if stage.approval else ""
    if stage.approval and stage.generation and not changed:
        changed = cleanup_evidence.lock_changed(stage.generation, json.loads(stage.approval.evidence)["lock"])
    told = _("%(changed)s Nothing more is sent: end the deletion early and ask again.")
    return say(told, changed=changed) if changed else STALE


def _insist_known(stage: CleanupStage) -> None:
    """Pause while Cloudflare does not say if R2 locks the backup, or which code is deployed. Raises TryLater."""
    if stage.approval is None or stage.generation is None:
        return
    approved = json.loads(stage.approval.evidence)
    try:
        bucket_protection.insist_known(stage.generation, approved["lock"])
        shown_references.insist_known(stage, approved["references"])
    except (bucket_protection.NotKnown, shown_references.DeployedNotKnown) as unknown:
        raise TryLater(unknown) from unknown


def insist_in_force(stage: CleanupStage) -> None:
    """Right before each chunk, check that it is still the stage's turn by the approved policy. Raises RunError."""
    approved = json.loads(stage.approval.evidence) if stage.approval else {}
    try:
        insist_turn(stage)
        if (policy.shown(), qa.scope_digest(stage)) != (approved.get("policy"), approved.get("scope_digest")):
            raise RunError(cleanup_next.OUTDATED, _why_stale(stage))
    except CleanupRefused as refused:
        raise RunError("wrong_set", refused) from refused
    except policy.PolicyEdited as refused:
        raise RunError("policy_edited", refused) from refused
