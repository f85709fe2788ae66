"""What must hold before a change is written: the approval, its target, the proposal, the backup, rights and policy.

Each function raises RunError with the reason, which the page of the change and its run show.
"""

import json
from typing import Any

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups import policy
from backups.bucket.r2 import R2Store
from backups.changes import evidence as change_evidence, proposal as proposals, requests as change_requests
from backups.changes.moves import ChangeRefused
from backups.changes.proposal import Proposal, ProposalRefused
from backups.execution import presence, revalidation
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import GenerationEntry, KeyChange
from kvops.approvals import evidence, gate as approval_gate
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from kvops.wording import say

STALE = gettext_noop("The change differs from the approved one. Nothing is written: end it here and prepare it again.")
NOT_CARRIED = gettext_noop("The run does not carry the change's approval.")
NOTHING = gettext_noop("Nothing more is written.")


def insist_target(change: KeyChange, lease: Lease) -> None:
    """Check that the approval is the used one of this change, and that its target, proposal and backup are the same."""
    shown = revalidation.approved(change.approval, lease, change.subject, NOT_CARRIED)
    now = {
        "account_id": change.environment.account_id,
        "namespace_id": change.namespace.namespace_id,
        "namespace_title": change.namespace.title,
        "prefix": change.name,
    }
    revalidation.insist_target(now, shown)
    if shown["proposal"]["object"] != change.object_key or shown["proposal"]["sha256"] != change.object_sha256:
        raise RunError("wrong_proposal", gettext_noop("The proposal is another object than the approved one."))
    backup = change.generation and (change.generation_id, change.generation.manifest_sha256)
    if backup != (shown["generation"] and (shown["generation"]["id"], shown["generation"]["manifest_sha256"])):
        raise RunError(
            "wrong_backup", gettext_noop("The backup of the old value is another one than the approved one.")
        )


def insist_as_approved(change: KeyChange, lease: Lease) -> None:
    """Derive again the evidence shown to the reviewer, then look at the objects of the backup."""
    digest = evidence.digest_of(evidence.canonical_evidence(change_evidence.build(change)))
    if change.approval is None or digest != change.approval.digest:
        raise RunError("stale", STALE)
    if change.generation:
        presence.insist_in_place(change.generation, lease, NOTHING)


def backup_verified(change: KeyChange, lease: Lease) -> bool:
    """Verify the backup if its last verification is older than a day; False while parts are left."""
    return change.generation is None or presence.verify_if_needed(change.generation, lease, NOTHING)


def proposal_of(change: KeyChange, store: R2Store) -> Proposal:
    """The proposal, opened with the identity of backups, if it is the approved object."""
    try:
        return proposals.opened(change, store, encryption.identities())
    except ProposalRefused as refused:
        raise RunError("wrong_proposal", refused) from refused


def insist_backed_up(change: KeyChange, proposal: Proposal) -> None:
    """Check that the entry in the backup equals the old entry in the proposal."""
    backup = change.generation
    if backup is None or proposal.old is None:
        return
    kept = GenerationEntry.objects.filter(
        generation=backup, name=change.name, outcome=GenerationEntry.Outcome.KEPT
    ).first()
    digest = entry_digest(proposal.old, encryption.digest_key(backup))
    if kept is None or bytes(kept.digest or b"") != digest:
        sentence = _(
            "Backup %(backup)s does not hold the old value that the change was made from. Nothing more is written. End "
            "the change here and prepare it again."
        )
        raise RunError("wrong_backup", say(sentence, backup=backup.pk))


def insist_rights(change: KeyChange) -> None:
    """Check the roles of both people, the emergency stop, and that the backup is still verified."""
    if change.approval is None:
        raise RunError("not_approved", NOT_CARRIED)
    try:
        approval_gate.still_valid(change.approval)
    except approval_gate.ApprovalRefused as refused:
        emergency.insist_none(change.environment)
        raise RunError("rights_gone", refused) from refused
    try:
        change_requests.insist_prepared(change)
    except ChangeRefused as refused:
        raise RunError("backup_damaged", refused) from refused


def insist_in_force(change: KeyChange) -> None:
    """Check that the approved policy is in force."""
    shown: dict[str, Any] = json.loads(change.approval.evidence) if change.approval else {}
    try:
        in_force = policy.shown()
    except policy.PolicyEdited as refused:
        raise RunError("stale", refused) from refused
    if in_force["digest"] != shown["policy"]["digest"]:
        raise RunError("stale", STALE)
