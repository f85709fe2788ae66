"""The word, the colour and the icon of each state of the product."""

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy


class Look(NamedTuple):
    """The word for people, Tabler's colour, and an icon, so that colour is never the only sign."""

    word: str | Promise
    colour: str
    icon: str


_GOOD = ("green", "circle-check")
_PROVEN = ("green", "shield-check")
_BUSY = ("azure", "loader-circle")
_WAITS = ("yellow", "clock")
_STEP = ("azure", "circle-dot")
_QUIET = ("secondary", "circle-dashed")
_CARE = ("orange", "triangle-alert")
_BAD = ("red", "circle-x")
_GONE = ("secondary", "trash-2")
_OVER = ("secondary", "ban")

LOOKS: dict[str, Look] = {
    # runs and scans
    "queued": Look(_("Queued"), *_WAITS),
    "running": Look(_("Running"), *_BUSY),
    "succeeded": Look(_("Succeeded"), *_GOOD),
    "failed": Look(_("Failed"), *_BAD),
    "stopped": Look(_("Stopped"), "orange", "octagon-pause"),
    "run_due": Look(_("Due later"), *_WAITS),
    # clean-up stages
    "waiting": Look(_("Waiting"), *_QUIET),
    "frozen": Look(_("List of keys fixed"), "azure", "snowflake"),
    "backed_up": Look(_("Backed up"), "azure", "archive"),
    "verified": Look(_("Verified"), *_PROVEN),
    "checked": Look(_("Checked"), *_PROVEN),
    "submitted": Look(_("Waits for approval"), *_WAITS),
    "approved": Look(_("Approved"), *_GOOD),
    "deleting": Look(_("Deleting"), "red", "loader-circle"),
    "awaits_person": Look(_("Waits for a person"), *_WAITS),
    "deletion_stopped": Look(_("Deletion stopped"), "orange", "octagon-pause"),
    "deletion_failed": Look(_("Deletion failed"), *_BAD),
    "deleted": Look(_("Deleted"), *_GONE),
    "confirmed": Look(_("Confirmed gone"), *_PROVEN),
    "accepted": Look(_("Accepted"), "green", "badge-check"),
    "nothing_deleted": Look(_("Nothing deleted"), *_CARE),
    "ended_early": Look(_("Ended early"), *_CARE),
    "not_complete": Look(_("Not complete"), *_CARE),
    "undone": Look(_("Undone"), "orange", "undo-2"),
    "restored": Look(_("Has restored keys"), "orange", "undo-2"),
    "restoring": Look(_("Keys being restored"), *_BUSY),
    "ended": Look(_("Ended"), *_OVER),
    "open": Look(pgettext_lazy("state", "Open"), *_STEP),
    "done": Look(_("Done"), *_GOOD),
    # entries of the runbook
    "runbook_operation": Look(_("By KVOps"), "azure", "server"),
    "runbook_read": Look(_("Masked value read"), "orange", "eye"),
    "runbook_stated": Look(_("Stated by a person"), "yellow", "user-pen"),
    "runbook_outside": Look(_("Changed outside KVOps"), *_CARE),
    # the doctor's findings
    "doctor_ok": Look(_("ok"), *_GOOD),
    "doctor_wrong": Look(_("wrong"), *_BAD),
    "doctor_unknown": Look(_("not known"), *_CARE),
    # backups
    "writing": Look(_("Writing"), *_BUSY),
    "partial": Look(_("Partial"), *_CARE),
    "complete": Look(_("Complete, not yet verified"), *_STEP),
    "damaged": Look(_("Damaged"), *_BAD),
    # retention of backups
    "kept_due": Look(_("Can be deleted"), "red", "calendar-x"),
    "kept_waiting": Look(_("Kept until its date"), *_WAITS),
    "kept_held": Look(_("Held"), "purple", "pin"),
    "kept_newest": Look(_("Kept: nothing newer"), *_PROVEN),
    "kept_no_rule": Look(_("Kept: without a rule"), *_CARE),
    "kept_writing": Look(_("Writing"), *_BUSY),
    "kept_investigation": Look(_("Kept for an investigation"), *_WAITS),
    # approval requests
    "pending": Look(_("Waits for a decision"), *_WAITS),
    "rejected": Look(_("Rejected"), *_BAD),
    "withdrawn": Look(_("Withdrawn"), "secondary", "undo-2"),
    "expired": Look(_("Expired"), "secondary", "hourglass"),
    "used": Look(_("Used"), *_GOOD),
    # people
    "person_invited": Look(_("Invited"), *_WAITS),
    "person_active": Look(_("Active"), *_GOOD),
    "person_deactivated": Look(_("Deactivated"), *_OVER),
    # rules of a policy
    "rule_added": Look(pgettext_lazy("rule", "Added"), "green", "plus"),
    "rule_removed": Look(pgettext_lazy("rule", "Removed"), "red", "minus"),
    "rule_changed": Look(pgettext_lazy("rule", "Changed"), "azure", "pencil"),
    # checks
    "passed": Look(_("Passed"), *_GOOD),
    "different": Look(_("Differences found"), *_BAD),
    "stale": Look(_("Out of date"), *_CARE),
    # chunks and keys of a deletion
    "planned": Look(_("Planned"), *_QUIET),
    "intended": Look(_("About to be sent"), *_STEP),
    "sent": Look(_("Sent"), "azure", "send"),
    "settled": Look(_("Settled"), *_GOOD),
    "skipped": Look(_("Skipped"), *_CARE),
    "unknown": Look(_("Unknown"), "orange", "circle-question-mark"),
    "reappeared": Look(_("Reappeared"), *_BAD),
    # objects of a bucket
    "object_known": Look(_("In a backup"), *_GOOD),
    "object_unknown": Look(_("In no backup"), *_CARE),
    "object_missing": Look(_("Missing"), *_BAD),
    "object_changed": Look(pgettext_lazy("object", "Changed"), *_BAD),
    "object_gone": Look(_("Deleted outside KVOps"), *_CARE),
    # protection of a bucket
    "lock_held": Look(_("Locked"), "green", "lock"),
    "lock_short": Look(_("Lock too short"), *_BAD),
    "lock_narrow": Look(_("Locked in part"), *_BAD),
    "lock_disabled": Look(_("Lock disabled"), *_BAD),
    "lock_missing": Look(_("Not locked"), "red", "lock-open"),
    "lock_unknown": Look(_("Not known"), "orange", "circle-question-mark"),
    "answer_unrelated": Look(_("Unrelated"), *_QUIET),
    "answer_falls_back": Look(_("Falls back safely"), *_GOOD),
    "answer_follow_up": Look(_("Follow-up"), *_WAITS),
    "bucket_private": Look(_("Private"), *_GOOD),
    "bucket_public": Look(_("Public"), "red", "globe"),
    "bucket_differs": Look(_("Needs a look"), *_CARE),
    "bucket_unknown": Look(_("Not known"), "orange", "circle-question-mark"),
    # changes of keys
    "change_draft": Look(_("Being prepared"), *_STEP),
    "change_ready": Look(_("Ready to submit"), *_STEP),
    "change_submitted": Look(_("Waits for approval"), *_WAITS),
    "change_approved": Look(_("Approved"), *_GOOD),
    "change_writing": Look(_("Writing"), *_BUSY),
    "change_to_accept": Look(_("Written, to be tried"), *_WAITS),
    "change_done": Look(_("Done"), *_GOOD),
    "change_ended": Look(_("Given up"), *_OVER),
    "change_rejected": Look(_("Rejected"), *_BAD),
    "change_withdrawn": Look(_("Withdrawn"), "secondary", "undo-2"),
    "change_expired": Look(_("Expired"), "secondary", "hourglass"),
    # rounds of scheduled clearings
    "clearing_running": Look(_("Running"), *_BUSY),
    "clearing_proving": Look(_("Deleted, being proven"), *_BUSY),
    "clearing_cleared": Look(_("Cleared"), *_PROVEN),
    "clearing_ended": Look(_("Ended early"), *_OVER),
    "clearing_nothing": Look(_("Nothing to clear"), *_QUIET),
    "clearing_stopped": Look(_("Stopped"), "red", "octagon-pause"),
    # restores
    "bulk_preparing": Look(_("Being backed up"), *_BUSY),
    "bulk_prepared": Look(_("Backed up"), *_STEP),
    "bulk_submitted": Look(_("Waits for approval"), *_WAITS),
    "bulk_approved": Look(_("Approved"), *_GOOD),
    "bulk_writing": Look(_("Writing"), *_BUSY),
    "bulk_to_accept": Look(_("Written, to be tried"), *_WAITS),
    "bulk_done": Look(_("Done"), *_GOOD),
    "bulk_ended": Look(_("Given up"), *_OVER),
    "restore_preparing": Look(_("Being compared with KV"), *_BUSY),
    "restore_prepared": Look(_("Compared with KV"), *_STEP),
    "restore_submitted": Look(_("Waits for approval"), *_WAITS),
    "restore_approved": Look(_("Approved"), *_GOOD),
    "restore_writing": Look(_("Writing"), *_BUSY),
    "restore_done": Look(_("Done"), *_GOOD),
    "restore_ended": Look(_("Given up"), *_OVER),
    # investigations
    "document_waiting": Look(_("Being put into 1Password"), *_BUSY),
    "document_failed": Look(_("Could not be kept in 1Password"), *_BAD),
    "document_kept": Look(_("Kept in 1Password"), *_PROVEN),
    "document_gone": Look(_("Missing from 1Password"), *_CARE),
    "document_changed": Look(_("Changed in 1Password"), *_CARE),
    "vault_kept": Look(_("Kept in 1Password"), *_PROVEN),
    "vault_due": Look(_("At the next due time"), *_WAITS),
    "vault_late": Look(pgettext_lazy("1Password", "Late"), *_CARE),
    "vault_refused": Look(_("Could not be kept in 1Password"), *_BAD),
    "vault_too_large": Look(_("Too large for 1Password"), *_CARE),
    "vault_gone": Look(_("Missing from 1Password"), *_CARE),
    "vault_changed": Look(_("Changed in 1Password"), *_CARE),
    "investigation_open": Look(pgettext_lazy("state", "Open"), *_STEP),
    "investigation_closed": Look(_("Closed, backup not deleted yet"), *_CARE),
    "investigation_deleting": Look(_("Backup being deleted"), "red", "loader-circle"),
    "investigation_over": Look(_("Over, backup deleted"), *_GONE),
    # notifications
    "notification_waiting": Look(_("To be sent"), *_WAITS),
    "notification_sending": Look(_("Being sent"), *_BUSY),
    "notification_delivered": Look(_("Delivered"), *_GOOD),
    "notification_failed": Look(_("Not delivered"), *_BAD),
    "notification_dropped": Look(_("Given up"), *_OVER),
    # schedules
    "schedule_ok": Look(_("On time"), *_GOOD),
    "schedule_running": Look(_("Under way"), *_BUSY),
    "schedule_new": Look(_("Not due yet"), *_QUIET),
    "schedule_paused": Look(_("Paused"), "yellow", "circle-pause"),
    "schedule_late": Look(_("Late"), *_CARE),
    "schedule_overdue": Look(_("Overdue"), *_BAD),
    "firing_started": Look(_("Started"), *_GOOD),
    "firing_nothing": Look(_("Nothing to do"), *_QUIET),
    "firing_refused": Look(_("Could not be started"), *_BAD),
    # punctuality of backups
    "light_on_time": Look(_("On time"), *_GOOD),
    "light_late": Look(_("Late"), *_CARE),
    "light_overdue": Look(_("Overdue"), *_BAD),
    "light_first": Look(_("First backup to come"), *_QUIET),
    "light_unexpected": Look(_("No backup expected"), *_QUIET),
    # prune requests
    "prune_submitted": Look(_("Waits for approval"), *_WAITS),
    "prune_approved": Look(_("Approved"), *_GOOD),
    "prune_deleting": Look(_("Deleting"), "red", "loader-circle"),
    "prune_done": Look(_("Done"), *_GOOD),
    "prune_ended": Look(_("Ended"), *_OVER),
    "pruned_planned": Look(_("To be deleted"), *_WAITS),
    "pruned_deleted": Look(_("Deleted"), *_GONE),
    "pruned_kept": Look(_("Kept"), "purple", "pin"),
    # code references
    "hit_certain": Look(_("Certain"), "red", "target"),
    "hit_possible": Look(_("Possible"), *_CARE),
    "hit_unknown": Look(_("Cannot be told"), "orange", "circle-question-mark"),
    "access_read": Look(_("Reads"), "azure", "book-open"),
    "access_write": Look(_("Writes"), "red", "pencil"),
    "access_list": Look(_("Lists"), "azure", "list"),
    "access_delete": Look(_("Deletes"), "red", "trash-2"),
    "access_unknown": Look(_("Access cannot be told"), "orange", "circle-question-mark"),
    "code_same": Look(_("Searched code runs"), *_PROVEN),
    "code_other": Look(_("Other code runs"), *_BAD),
    "code_not_known": Look(_("Not known"), "orange", "circle-question-mark"),
    # one setting against the last backup
    "same": Look(_("Same as in the backup"), *_PROVEN),
    "put_back": Look(_("Put back past KVOps"), *_BAD),
    "not_in_backup": Look(_("Not in the backup"), *_BAD),
    "gone": Look(_("No longer in KV"), *_BAD),
    "nowhere": Look(_("Neither in the backup nor in KV"), *_QUIET),
    # categories
    "settings": Look(_("Settings"), "purple", "lock"),
    "cache": Look(_("Cache"), "cyan", "hourglass"),
    "legacy": Look(_("Legacy master"), "orange", "archive"),
    "unclassified": Look(_("Unclassified"), "secondary", "circle-question-mark"),
}


def look_of(state: str) -> Look:
    """The word, colour and icon of a state."""
    return LOOKS.get(state) or unknown(state)


def unknown(state: str) -> Look:
    """A state without an entry, such as one that only newer code knows: as it is stored, in grey."""
    return Look(state.replace("_", " ").capitalize(), *_QUIET)
