"""The look of a state: its word, colour and icon. The features have those of their own states (`states`)."""

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, pgettext_lazy


class Look(NamedTuple):
    """The word for people, Tabler's colour, and an icon, so that colour is never the only sign."""

    word: str | Promise
    colour: str
    icon: str


GOOD = ("green", "circle-check")
PROVEN = ("green", "shield-check")
BUSY = ("azure", "loader-circle")
WAITS = ("yellow", "clock")
STEP = ("azure", "circle-dot")
QUIET = ("secondary", "circle-dashed")
CARE = ("orange", "triangle-alert")
BAD = ("red", "circle-x")
GONE = ("secondary", "trash-2")
OVER = ("secondary", "ban")

SHARED: dict[str, Look] = {
    # runs and scans
    "queued": Look(_("Queued"), *WAITS),
    "running": Look(_("Running"), *BUSY),
    "succeeded": Look(_("Succeeded"), *GOOD),
    "failed": Look(_("Failed"), *BAD),
    "stopped": Look(_("Stopped"), "orange", "octagon-pause"),
    "run_due": Look(_("Due later"), *WAITS),
    # clean-up stages
    "waiting": Look(_("Waiting"), *QUIET),
    "frozen": Look(_("List of keys fixed"), "azure", "snowflake"),
    "backed_up": Look(_("Backed up"), "azure", "archive"),
    "verified": Look(_("Verified"), *PROVEN),
    "checked": Look(_("Checked"), *PROVEN),
    "submitted": Look(_("Waits for approval"), *WAITS),
    "approved": Look(_("Approved"), *GOOD),
    "deleting": Look(_("Deleting"), "red", "loader-circle"),
    "awaits_person": Look(_("Waits for a person"), *WAITS),
    "deletion_stopped": Look(_("Deletion stopped"), "orange", "octagon-pause"),
    "deletion_failed": Look(_("Deletion failed"), *BAD),
    "deleted": Look(_("Deleted"), *GONE),
    "confirmed": Look(_("Confirmed gone"), *PROVEN),
    "accepted": Look(_("Accepted"), "green", "badge-check"),
    "nothing_deleted": Look(_("Nothing deleted"), *CARE),
    "ended_early": Look(_("Ended early"), *CARE),
    "not_complete": Look(_("Not complete"), *CARE),
    "undone": Look(_("Undone"), "orange", "undo-2"),
    "restored": Look(_("Has restored keys"), "orange", "undo-2"),
    "restoring": Look(_("Keys being restored"), *BUSY),
    "ended": Look(_("Ended"), *OVER),
    "open": Look(pgettext_lazy("state", "Open"), *STEP),
    "done": Look(_("Done"), *GOOD),
    # backups
    "writing": Look(_("Writing"), *BUSY),
    "partial": Look(_("Partial"), *CARE),
    "complete": Look(_("Complete, not yet verified"), *STEP),
    "damaged": Look(_("Damaged"), *BAD),
    # approval requests
    "pending": Look(_("Waits for a decision"), *WAITS),
    "rejected": Look(_("Rejected"), *BAD),
    "withdrawn": Look(_("Withdrawn"), "secondary", "undo-2"),
    "expired": Look(_("Expired"), "secondary", "hourglass"),
    "used": Look(_("Used"), *GOOD),
    # checks
    "passed": Look(_("Passed"), *GOOD),
    "different": Look(_("Differences found"), *BAD),
    "stale": Look(_("Out of date"), *CARE),
    # chunks and keys of a deletion
    "planned": Look(_("Planned"), *QUIET),
    "intended": Look(_("About to be sent"), *STEP),
    "sent": Look(_("Sent"), "azure", "send"),
    "settled": Look(_("Settled"), *GOOD),
    "skipped": Look(_("Skipped"), *CARE),
    "unknown": Look(_("Unknown"), "orange", "circle-question-mark"),
    "reappeared": Look(_("Reappeared"), *BAD),
    # one setting against the last backup
    "same": Look(_("Same as in the backup"), *PROVEN),
    "put_back": Look(_("Put back past KVOps"), *BAD),
    "not_in_backup": Look(_("Not in the backup"), *BAD),
    "gone": Look(_("No longer in KV"), *BAD),
    "nowhere": Look(_("Neither in the backup nor in KV"), *QUIET),
    # categories
    "settings": Look(_("Settings"), "purple", "lock"),
    "cache": Look(_("Cache"), "cyan", "hourglass"),
    "legacy": Look(_("Legacy master"), "orange", "archive"),
    "unclassified": Look(_("Unclassified"), "secondary", "circle-question-mark"),
}
