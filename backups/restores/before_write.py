"""What must hold before a restore is written: its approval and target, the evidence, and the policy in force.

Each function raises RunError with the reason.
"""

import json
from collections.abc import Callable

from django.utils.functional import Promise
from django.utils.translation import gettext_noop

from backups import policy
from backups.cleanup import stages
from backups.execution import revalidation
from backups.models import Restore
from backups.restores import evidence as restore_evidence
from backups.restores.moves import RestoreRefused, insist_names, moves_of
from kvops.approvals import evidence
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError

STALE = gettext_noop(
    "The keys to restore differ from the approved ones. Nothing more is written: end the restore early and prepare it "
    "again."
)


def insist_target(restore: Restore, lease: Lease) -> None:
    """Check that the approval and its target are still valid."""
    subject = f"stage:{restore.stage_id}" if restore.is_undo else moves_of(restore).subject(restore)
    not_carried = gettext_noop("The run does not carry the restore's approval.")
    shown = revalidation.approved(restore.approval, lease, subject, not_carried, started=not restore.is_undo)
    now = {
        "account_id": restore.environment.account_id,
        "namespace_id": restore.namespace.namespace_id,
        "namespace_title": restore.namespace.title,
    }
    revalidation.insist_target(now, shown)
    names_sha256 = restore.stage.names_sha256 if restore.stage else restore.names_sha256
    backup = (restore.generation_id, restore.generation.manifest_sha256)
    if shown["names"]["sha256"] != names_sha256 or backup != (
        shown["generation"]["id"],
        shown["generation"]["manifest_sha256"],
    ):
        raise RunError("wrong_set", gettext_noop("The list of keys or the backup differs from the approved one."))


def insist_as_approved(
    restore: Restore,
    build: Callable[[Restore], dict[str, object]] = restore_evidence.build,
    stale: str | Promise = STALE,
) -> None:
    """Derive again the evidence shown to the reviewer. Raises RunError with `stale` if it changed."""
    try:
        insist_names(restore)
        if restore.stage:
            stages.insist_names(restore.stage)
    except (RestoreRefused, stages.CleanupRefused) as refused:
        raise RunError("wrong_set", refused) from refused
    if restore.is_undo:
        return
    digest = evidence.digest_of(evidence.canonical_evidence(build(restore)))
    if restore.approval is None or digest != restore.approval.digest:
        raise RunError("stale", stale)


def insist_in_force(restore: Restore, stale: str | Promise = STALE) -> None:
    """Right before each chunk, check that the approved policy is in force; an undo needs none. Raises RunError."""
    if restore.is_undo:
        return
    shown = json.loads(restore.approval.evidence) if restore.approval else {}
    try:
        in_force = policy.shown()
    except policy.PolicyEdited as refused:
        raise RunError("stale", refused) from refused
    if in_force["digest"] != shown["policy"]["digest"]:
        raise RunError("stale", stale)
