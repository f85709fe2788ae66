"""The closed list of recordable actions: the table of contents of the product.

A value is never renamed and never removed, because entries that carry it are kept for ever.
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Action(TextChoices):
    """The action an entry records: the value is stored, the label is its title on pages."""

    PERSON_CREATED = "person.created", _("Person created")
    PERSON_ROLE_GRANTED = "person.role_granted", _("Role granted")
    PERSON_ROLE_REVOKED = "person.role_revoked", _("Role revoked")
    PERSON_CHANGE_REQUESTED = "person.change_requested", _("Change of a person's roles requested")
    PERSON_INVITED = "person.invited", _("Invitation to be sent")
    PERSON_PASSWORD_CHOSEN = "person.password_chosen", _("Password chosen")
    PERSON_NOTICES_CHANGED = "person.notices_changed", _("Personal notices changed")
    PERSON_DEACTIVATED = "person.deactivated", _("Person deactivated")
    PERSON_ACTIVATED = "person.activated", _("Person activated again")
    RECOVERY_ASKED = "recovery.asked", _("Recovery of the reviewer asked for")
    RECOVERY_GRANTED = "recovery.granted", _("Recovery of the reviewer in effect")
    RECOVERY_CANCELLED = "recovery.cancelled", _("Recovery of the reviewer cancelled")
    SIGNIN_SUCCEEDED = "signin.succeeded", _("Signed in")
    SIGNIN_FAILED = "signin.failed", _("Sign-in failed")

    ENVIRONMENT_APPLIED = "environment.applied", _("Environment applied")
    ENVIRONMENT_CHANGE_REQUESTED = (
        "environment.change_requested",
        _("Change of an environment requested"),
    )
    POLICY_APPLIED = "policy.applied", _("Policy applied")
    POLICY_CHANGE_REQUESTED = "policy.change_requested", _("Change of the policy requested")

    EMERGENCY_STOPPED = "emergency.stopped", _("Emergency stop pressed")
    EMERGENCY_RELEASED = "emergency.released", _("Emergency stop released")

    CONTRADICTION_FOUND = "contradiction.found", _("Rollback of the database found")
    CONTRADICTION_ACCEPTED = "contradiction.accepted", _("Rolled-back database accepted")

    SCAN_STARTED = "scan.started", _("Scan started")
    SCAN_FINISHED = "scan.finished", _("Scan finished")
    SCAN_FAILED = "scan.failed", _("Scan failed")

    MISSING_FOUND = "missing.found", _("Unexplained deletions found")
    UNEXPECTED_FOUND = "unexpected.found", _("Unexpected keys found")
    EXPIRY_LACKING = "expiry.lacking", _("Keys without the expiry of their family found")
    MISSING_ACKNOWLEDGED = "missing.acknowledged", _("Unexplained changes acknowledged")

    OUTSIDE_FOUND = "outside.found", _("Settings changed outside KVOps found")
    OUTSIDE_NOT_COMPARABLE = "outside.not_comparable", _("Backup not comparable with the one before")
    OUTSIDE_ACKNOWLEDGED = "outside.acknowledged", _("Settings changed outside KVOps explained")
    SETTING_COMPARISON_STARTED = "setting.comparison_started", _("Comparison of a setting started")
    SETTING_COMPARED = "setting.compared", _("Setting compared with the last backup")

    CLOUDFLARE_ASKED = "missing.cloudflare_asked", _("Cloudflare's audit log asked")

    RUN_CREATED = "run.created", _("Run created")
    RUN_STOP_REQUESTED = "run.stop_requested", _("Stop of a run requested")
    RUN_STOPPED = "run.stopped", _("Run stopped")
    RUN_RESUMED = "run.resumed", _("Run resumed")
    RUN_FAILED = "run.failed", _("Run failed")
    RUN_FINISHED = "run.finished", _("Run finished")
    RUN_TAKEN_OVER = "run.taken_over", _("Run taken over from a lost worker")

    GENERATION_STARTED = "generation.started", _("Backup started")
    GENERATION_COMPLETED = "generation.completed", _("Backup completed")
    GENERATION_PARTIAL = "generation.partial", _("Backup left partial")
    GENERATION_VERIFIED = "generation.verified", _("Backup verified")
    GENERATION_DAMAGED = "generation.damaged", _("Backup found damaged")
    GENERATION_PINNED = "generation.pinned", _("Backup pinned")
    GENERATION_UNPINNED = "generation.unpinned", _("Pin of a backup removed")
    GENERATION_DELETING = "generation.deleting", _("Erasure of a backup started")
    OBJECT_DELETING = "object.deleting", _("Erasure of an object intended")
    GENERATION_DELETED = "generation.deleted", _("Backup deleted")
    GENERATION_KEPT = "generation.kept", _("Expired backup kept")
    GENERATION_ELSEWHERE = "generation.elsewhere", _("Backup also kept in 1Password")
    VAULT_ASKED = "vault.asked", _("Keeping of a backup in 1Password started")
    VAULT_SUPERSEDED = "vault.superseded", _("Document of a backup superseded by a newer one")
    VAULT_GONE = "vault.gone", _("Document of a backup missing from 1Password")
    VAULT_CHANGED = "vault.changed", _("Document of a backup changed in 1Password")
    VAULT_BACK = "vault.back", _("Document of a backup in 1Password again")
    DISPOSAL_SUBMITTED = "disposal.submitted", _("Prune request submitted for approval")
    DISPOSAL_APPROVED = "disposal.approved", _("Prune request approved")
    DISPOSAL_STARTED = "disposal.started", _("Prune run started")
    DISPOSAL_FINISHED = "disposal.finished", _("Prune run finished")
    DISPOSAL_ENDED = "disposal.ended", _("Prune request given up")
    STORAGE_RECONCILED = "storage.reconciled", _("Bucket matches the backups")
    STORAGE_DIFFERS = "storage.differs", _("Bucket differs from the backups")
    OBJECTS_NOTED = "objects.noted", _("Objects in a bucket explained")
    BUCKET_GUARDED = "bucket.guarded", _("Bucket protection confirmed")
    BUCKET_UNGUARDED = "bucket.unguarded", _("Bucket protection missing")
    BUCKET_GUARD_UNKNOWN = "bucket.guard_unknown", _("Bucket protection unknown")
    COPY_SHARED = "copy.shared", _("Backup for a deletion shared with the team")
    DUMP_WRITTEN = "dump.written", _("Backup written to a file")
    DUMP_KEPT = "dump.kept", _("Encrypted place of a file backup recorded")
    DUMP_REFUSED = "dump.refused", _("Backup to a file refused")

    CHECK_STARTED = "check.started", _("Integrity check started")
    CHECK_PASSED = "check.passed", _("Integrity check passed")
    CHECK_FAILED = "check.failed", _("Integrity check failed")
    CASE_OPENED = "case.opened", _("Differences assigned to a person")
    CASE_CHANGED = "case.changed", _("Case of differences changed")
    CASE_CLOSED = "case.closed", _("Case of differences closed")
    IMPORT_MADE = "check.import_made", _("D1 import file made")
    VALUE_VIEWED = "value.viewed", _("Value viewed")
    VALUE_REVEALED = "value.revealed", _("Masked value revealed")
    CONTRAST_STARTED = "contrast.started", _("Comparison of a backup started")
    CONTRAST_FINISHED = "contrast.finished", _("Comparison of a backup finished")

    APPROVAL_REQUESTED = "approval.requested", _("Approval requested")
    APPROVAL_APPROVED = "approval.approved", _("Request approved")
    APPROVAL_REJECTED = "approval.rejected", _("Request rejected")
    APPROVAL_WITHDRAWN = "approval.withdrawn", _("Request withdrawn")
    APPROVAL_EXPIRED = "approval.expired", _("Request expired")
    APPROVAL_USED = "approval.used", _("Approval used")
    APPROVAL_CARRIED = "approval.carried", _("Standing approval carried by a run")
    APPROVAL_REFUSED = "approval.refused", _("Decision on a request refused")

    CLEANUP_REQUESTED = "cleanup.requested", _("Clean-up requested")
    CLEANUP_ENDED = "cleanup.ended", _("Clean-up ended")
    STAGE_FROZEN = "stage.frozen", _("List of keys of the stage fixed")
    STAGE_BACKED_UP = "stage.backed_up", _("Stage backed up")
    STAGE_VERIFIED = "stage.verified", _("Backup of the stage verified")
    STAGE_CHECKED = "stage.checked", _("Stage checked against D1")
    STAGE_SUBMITTED = "stage.submitted", _("Stage submitted for approval")
    STAGE_APPROVED = "stage.approved", _("Stage approved")
    STAGE_RETURNED = "stage.returned", _("Stage returned to the fixed list of keys")
    STAGE_DELETING = "stage.deleting", _("Deletion of the stage started")
    STAGE_DELETED = "stage.deleted", _("Deletion of the stage done")
    STAGE_CONFIRMED = "stage.confirmed", _("Deletion confirmed by listing")
    STAGE_CHECKED_AGAIN = "stage.checked_again", _("Compared with D1 again after the deletion")
    STAGE_ACCEPTED = "stage.accepted", _("Stage accepted")
    CHUNK_INTENDED = "chunk.intended", _("Deletion of a chunk intended")
    CHUNK_SETTLED = "chunk.settled", _("Deletion of a chunk settled")
    KEYS_REAPPEARED = "keys.reappeared", _("Deleted keys reappeared")
    REAPPEARANCES_ACKNOWLEDGED = "reappearances.acknowledged", _("Reappeared keys acknowledged")
    LEFTOVERS_EXPLAINED = "leftovers.explained", _("Leftover keys explained")
    OTHERS_EXPLAINED = "others.explained", _("Other keys under the prefix explained")
    CLEANUP_ARRANGED = "cleanup.arranged", _("Ticket and frozen writers of a clean-up recorded")
    REFERENCES_STATED = "references.stated", _("Code references stated")
    REFERENCES_SEARCHED = "references.searched", _("Search for code references stored")
    REFERENCES_ANSWERED = "references.answered", _("Code references answered")

    STAGE_UNDOING = "stage.undoing", _("Undoing of a deletion started")
    STAGE_UNDONE = "stage.undone", _("Deletion undone")

    RESTORE_PREPARED = "restore.prepared", _("Restore prepared")
    RESTORE_COMPARED = "restore.compared", _("Restore compared with KV")
    RESTORE_SUBMITTED = "restore.submitted", _("Restore submitted for approval")
    RESTORE_APPROVED = "restore.approved", _("Restore approved")
    RESTORE_RETURNED = "restore.returned", _("Restore returned to its preparation")
    RESTORE_STARTED = "restore.started", _("Restore started")
    RESTORE_CHUNK_INTENDED = "restore.chunk_intended", _("Writing of a chunk intended")
    RESTORE_CHUNK_SETTLED = "restore.chunk_settled", _("Writing of a chunk settled")
    RESTORE_FINISHED = "restore.finished", _("Restore finished")
    RESTORE_ENDED = "restore.ended", _("Restore given up")

    SCHEDULE_CREATED = "schedule.created", _("Schedule created")
    SCHEDULE_CHANGED = "schedule.changed", _("Schedule changed")
    SCHEDULE_PAUSED = "schedule.paused", _("Schedule paused")
    SCHEDULE_UNPAUSED = "schedule.unpaused", _("Pause of a schedule ended")
    SCHEDULE_FIRED = "schedule.fired", _("Scheduled work started")
    SCHEDULE_REFUSED = "schedule.refused", _("Scheduled work could not be started")
    SCHEDULE_MISSED = "schedule.missed", _("Scheduled work missed")

    NOTIFICATION_FAILED = "notification.failed", _("Notification not delivered")
    NOTIFICATION_TRIED_AGAIN = "notification.tried_again", _("Notification tried again by a person")
    NOTIFICATION_DROPPED = "notification.dropped", _("Notification given up by a person")

    DRILL_STARTED = "drill.started", _("Restore drill started")
    DRILL_WRITING = "drill.writing", _("Writing into the scratch namespace intended")
    DRILL_REMOVING = "drill.removing", _("Removal from the scratch namespace intended")
    DRILL_REHEARSED = "drill.rehearsed", _("Backup tried in a drill")
    DRILL_PASSED = "drill.passed", _("Restore drill passed")
    DRILL_FAILED = "drill.failed", _("Restore drill failed")

    CLEARING_CREATED = "clearing.created", _("Rule of a scheduled clearing created")
    CLEARING_CHANGED = "clearing.changed", _("Rule of a scheduled clearing changed")
    CLEARING_RETIRED = "clearing.retired", _("Rule of a scheduled clearing retired")
    CLEARING_STARTED = "clearing.started", _("Scheduled clearing started")
    CLEARING_STOPPED = "clearing.stopped", _("Scheduled clearing stopped before its first call")
    CLEARING_CLEARED = "clearing.cleared", _("Scheduled clearing proven")
    CLEARING_ACCEPTED = "clearing.accepted", _("Scheduled clearing accepted")
    CLEARING_ANSWERED = "clearing.answered", _("Code reference of a scheduled clearing answered")
    INVESTIGATION_OPENED = "investigation.opened", _("Investigation opened")
    INVESTIGATION_CLOSED = "investigation.closed", _("Investigation closed")
    INVESTIGATION_ENDING = "investigation.ending", _("Prune of an investigation backup started")
    INVESTIGATION_OVER = "investigation.over", _("Investigation backup deleted")

    CHANGE_PREPARED = "change.prepared", _("Change of a key prepared")
    CHANGE_COMPARED = "change.compared", _("Proposed value compared with a masked one")
    CHANGE_SUBMITTED = "change.submitted", _("Change of a key submitted for approval")
    CHANGE_APPROVED = "change.approved", _("Change of a key approved")
    CHANGE_STARTED = "change.started", _("Change of a key started")
    CHANGE_INTENDED = "change.intended", _("Writing of a changed key intended")
    CHANGE_FINISHED = "change.finished", _("Change of a key read back")
    CHANGE_ACCEPTED = "change.accepted", _("Change of a key accepted")
    CHANGE_ENDED = "change.ended", _("Change of a key given up")
    PROPOSAL_ERASING = "proposal.erasing", _("Erasure of a proposal intended")
    PROPOSAL_ERASED = "proposal.erased", _("Proposal erased")

    BULK_PREPARED = "bulk.prepared", _("Keys of a bulk change chosen")
    BULK_BACKED_UP = "bulk.backed_up", _("Keys of a bulk change backed up and verified")
    BULK_SUBMITTED = "bulk.submitted", _("Bulk change submitted for approval")
    BULK_APPROVED = "bulk.approved", _("Bulk change approved")
    BULK_RETURNED = "bulk.returned", _("Bulk change returned to its preparation")
    BULK_STARTED = "bulk.started", _("Bulk change started")
    BULK_FINISHED = "bulk.finished", _("Bulk change read back")
    BULK_ACCEPTED = "bulk.accepted", _("Bulk change accepted")
    BULK_ENDED = "bulk.ended", _("Bulk change given up")

    RUNBOOK_NOTED = "runbook.noted", _("Note written in the runbook")
    RUNBOOK_STATED = "runbook.stated", _("Operation outside KVOps stated")
    TODO_ADDED = "todo.added", _("To-do added")
    TODO_DONE = "todo.done", _("To-do done")

    AUDIT_VERIFIED = "audit.verified", _("Audit log verified")

    REFUSED = "refused", _("Refused")


# The actions an auditor looks for first. Pages mark their entries.
ALARMING = frozenset(
    {
        Action.SIGNIN_FAILED,
        Action.RECOVERY_ASKED,
        Action.RECOVERY_GRANTED,
        Action.EMERGENCY_STOPPED,
        Action.CONTRADICTION_FOUND,
        Action.SCAN_FAILED,
        Action.MISSING_FOUND,
        Action.UNEXPECTED_FOUND,
        Action.OUTSIDE_FOUND,
        Action.OUTSIDE_NOT_COMPARABLE,
        Action.EXPIRY_LACKING,
        Action.RUN_FAILED,
        Action.RUN_TAKEN_OVER,
        Action.GENERATION_PARTIAL,
        Action.GENERATION_DAMAGED,
        Action.STORAGE_DIFFERS,
        Action.BUCKET_UNGUARDED,
        Action.BUCKET_GUARD_UNKNOWN,
        Action.DUMP_REFUSED,
        Action.CHECK_FAILED,
        Action.KEYS_REAPPEARED,
        Action.DRILL_FAILED,
        Action.CLEARING_STOPPED,
        Action.APPROVAL_REFUSED,
        Action.SCHEDULE_REFUSED,
        Action.SCHEDULE_MISSED,
        Action.NOTIFICATION_FAILED,
        Action.REFUSED,
    }
)
