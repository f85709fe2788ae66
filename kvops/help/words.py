"""The words of the product, each with one sentence and the page where people meet it."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy as _, override, pgettext_lazy


@dataclass(frozen=True)
class Word:
    """A word: its anchor `code`, the word itself, its meaning in one sentence, and the name of a page."""

    code: str
    word: Promise
    meaning: Promise
    page: str

    @property
    def other_language(self) -> str:
        """The language that the page is not in."""
        return "en" if get_language() == "ja" else "ja"

    @property
    def other(self) -> str:
        """The word in the other language, for people who read a message of a colleague."""
        with override(self.other_language):
            return str(self.word)


PLACES = (
    Word(
        "environment",
        _("Environment"),
        _("QA or production: one Cloudflare account with its tokens, namespaces, D1 databases and R2 bucket."),
        "environments",
    ),
    Word(
        "production",
        pgettext_lazy("glossary", "Production"),
        _("The environment that users depend on; everything is done in QA first."),
        "environments",
    ),
    Word("namespace", _("Namespace"), _("A store of keys in Workers KV."), "namespaces"),
    Word(
        "binding",
        _("Binding"),
        _("The name by which Workers know a namespace, such as SETTINGS; the same in QA and production."),
        "namespaces",
    ),
    Word(
        "key",
        _("Key"),
        _("A name in KV with its value, expiration and metadata; KVOps never stores values in its database."),
        "namespaces",
    ),
    Word(
        "category",
        _("Category"),
        _("Settings, cache, or legacy master data; the policy rules each differently."),
        "categories",
    ),
    Word(
        "family",
        _("Key family"),
        _("Keys with the same beginning (or one key) with their category, owner and expiry design."),
        "categories",
    ),
    Word(
        "unclassified",
        _("Unclassified"),
        _("A key that no family knows; it is treated as a setting until somebody registers one."),
        "categories",
    ),
    Word(
        "expiry-design",
        _("Expiry design"),
        _("The time after which keys of a family expire, or the mark that lets the application write them again."),
        "expiry",
    ),
    Word(
        "scan",
        _("Scan"),
        _("One listing of all names of a namespace; pages show keys as of the newest complete scan."),
        "namespaces",
    ),
    Word(
        "unexplained",
        _("Unexplained deletions"),
        _("Keys that a scan no longer finds, although KVOps did not delete them and they had not expired."),
        "unexplained",
    ),
)
BACKUPS = (
    Word(
        "backup",
        _("Backup"),
        _("A copy of keys in R2, with digests and a manifest, that can be restored."),
        "backups:backups",
    ),
    Word(
        "deletion-backup",
        _("Backup for a deletion"),
        _("The backup that a clean-up makes of exactly the keys that it will delete."),
        "backups:cleanup_list",
    ),
    Word(
        "generation",
        pgettext_lazy("glossary", "Generation"),
        _("One backup of a family, where backups are counted: at least 14 days of them are kept."),
        "backups:retention",
    ),
    Word(
        "verified",
        _("Verified"),
        _("The backup was read back from R2 and compared, entry by entry, with the values that KV had returned."),
        "backups:backups",
    ),
    Word(
        "coverage",
        pgettext_lazy("glossary", "Coverage"),
        _("The days to which a family can be restored; less than 14 is an alarm."),
        "backups:retention",
    ),
    Word(
        "prune",
        _("Prune request"),
        _("Expired backups are deleted only on a request that a second person approves."),
        "backups:prunes",
    ),
    Word(
        "pin",
        pgettext_lazy("glossary", "Pin"),
        _("A mark that keeps a backup beyond its date, with a reason."),
        "backups:retention",
    ),
    Word(
        "bucket-protection",
        _("Bucket protection"),
        _("The lock, the lifecycle rules and the public access of the R2 bucket."),
        "backups:storage",
    ),
    Word(
        "restore",
        _("Restore"),
        _("Writes keys of a backup into KV again, after a preview and an approval."),
        "backups:restores",
    ),
    Word(
        "drill",
        _("Drill"),
        _("A restore into a scratch namespace, to know that backups can be restored."),
        "backups:drills",
    ),
    Word(
        "investigation",
        _("Investigation"),
        _("A cache backed up for one question; its backup has an end and is deleted then."),
        "backups:investigations",
    ),
    Word(
        "comparison",
        _("Comparison"),
        _("The differences between a backup and a later one, or between a backup and KV."),
        "backups:backups",
    ),
)
PROOF = (
    Word(
        "integrity-check",
        _("Integrity check"),
        _(
            "The comparison of a backup, a file or live KV with D1, which is the source of truth;"
            " done before a deletion."
        ),
        "backups:integrity",
    ),
    Word(
        "dataset",
        _("Dataset"),
        _("The rule by which a key corresponds to a row of D1."),
        "backups:integrity",
    ),
    Word(
        "reference",
        _("Code references"),
        _("The places in Worker code that mention keys; a person answers each one before a deletion."),
        "references",
    ),
    Word(
        "follow-up",
        _("Follow-up"),
        _("A change of the code that a person promised when answering a code reference, with its owner and its date."),
        "runbook-todos",
    ),
)
DELETION = (
    Word(
        "cleanup",
        _("Clean-up"),
        _("The request to delete one family of keys, in QA first and then in production."),
        "backups:cleanup_list",
    ),
    Word(
        "stage",
        _("Stage"),
        _("The part of a clean-up in one environment."),
        "backups:cleanup_list",
    ),
    Word(
        "approval",
        _("Approval request"),
        _("The list of facts that a reviewer approves or rejects; nothing destructive runs without one."),
        "approvals",
    ),
    Word(
        "four-eyes",
        _("Four-eyes principle"),
        _("A different person confirms each deletion and each update; the database refuses anything else."),
        "approvals",
    ),
    Word(
        "operator",
        pgettext_lazy("glossary", "Operator"),
        _("The role that prepares, asks and starts."),
        "people",
    ),
    Word(
        "reviewer",
        pgettext_lazy("glossary", "Reviewer"),
        _("The role that approves or rejects the requests of other people."),
        "people",
    ),
    Word(
        "auditor",
        pgettext_lazy("glossary", "Auditor"),
        _("The role that reads every page but no value; it can pin backups, add notes and stop an environment."),
        "people",
    ),
    Word(
        "standing-approval",
        _("Standing approval"),
        _("An approval with an end, for many runs of one rule: scheduled clearing, expiring caches and drills."),
        "backups:clearings",
    ),
    Word(
        "reappeared",
        _("Reappeared"),
        _("A key that was proven deleted is listed again; some code still writes it."),
        "backups:cleanup_list",
    ),
    Word(
        "certificate",
        _("Certificate"),
        _("One sheet of a finished clean-up with each rule of the policy and its proof."),
        "backups:cleanup_list",
    ),
    Word(
        "emergency-stop",
        _("Emergency stop"),
        _("Ends all destructive work of an environment at the next chunk; two people release it."),
        "environments",
    ),
)
RECORD = (
    Word(
        "run",
        pgettext_lazy("glossary", "Run"),
        _("One piece of background work with its progress and its outcome."),
        "runs",
    ),
    Word(
        "chunk",
        pgettext_lazy("glossary", "Chunk"),
        _("One part of the work of a run; the run stops and resumes between two of them."),
        "runs",
    ),
    Word(
        "wake-up-task",
        _("Wake-up task"),
        _("A message in the queue that tells a worker to look for work; it holds no facts."),
        "runs",
    ),
    Word(
        "runbook",
        _("Runbook"),
        _("The procedure of each operation, its automatic timeline and people's notes."),
        "runbook",
    ),
    Word(
        "audit-log",
        _("Audit log"),
        _("Each change with person and time; entries can be added, but not changed or removed."),
        "audit:entries",
    ),
    Word(
        "checkpoint",
        _("Checkpoint"),
        _("A signed state of the audit log, kept outside the database as proof that nobody edited it."),
        "audit:entries",
    ),
    Word(
        "rollback",
        _("Database rollback"),
        _(
            "The database was set back to an older state, as a backup in R2 shows;"
            " KVOps is read-only until an administrator accepts it."
        ),
        "environments",
    ),
)
GROUPS = (
    (_("Places and keys"), PLACES),
    (_("Backups and restores"), BACKUPS),
    (_("Checks before a deletion"), PROOF),
    (_("Deletion and approval"), DELETION),
    (_("Work and records"), RECORD),
)
