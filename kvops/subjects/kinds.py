"""The kinds of subjects of the audit log: each with its title, the address of its page, and its parents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class SubjectKind:
    """A kind of subject; `page` is the name of its address, and `model` has its rows, by the primary key.

    `parents`: the kind of a parent -> the lookup from a row to that parent. `found`: the same with a function by name,
    which takes the keys of the parents and gives the rows. `named`: how the column `subject` of a row names its
    parent, of any kind. `holds`: the lookups from a row to the names of the keys that its entries are about.
    `titled`: a function by name, which takes the keys of rows and gives their titles in the reader's language.
    """

    title: Promise
    page: str = ""
    model: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)
    named: Sequence[str] = ()
    holds: Sequence[str] = ()
    titled: str = ""


KINDS: Mapping[str, SubjectKind] = {
    "cleanup": SubjectKind(_("Clean-up"), "backups:cleanup", "backups.CleanupRequest", holds=["stages__entries__name"]),
    "stage": SubjectKind(
        _("Stage"),
        "backups:stage",
        "backups.CleanupStage",
        parents={"cleanup": "request", "clearing": "request__clearing"},
    ),
    "approval": SubjectKind(
        _("Approval"), "approval", "kvops.ApprovalRequest", named=["{}"], titled="kvops.approvals.titles.of_requests"
    ),
    "person": SubjectKind(_("Person"), "person", "kvops.Person"),
    "recovery": SubjectKind(_("Recovery of the reviewer"), "", "kvops.ReviewerRecovery"),
    "generation": SubjectKind(
        _("Backup"),
        "backups:generation",
        "backups.Generation",
        parents={
            "stage": "stages",
            "restore": "safe_restores",
            "prune": "prunes__prune",
            "investigation": "investigation",
            "keychange": "changes",
            "bulkchange": "restores__bulk",
        },
        found={"stage": "backups.cleanup.stages.backups_of"},
    ),
    "check": SubjectKind(
        _("Check"),
        "backups:check",
        "backups.Check",
        parents={"generation": "generation", "stage": "datasets_of_stages"},
        titled="backups.history.titles.of_checks",
    ),
    "restore": SubjectKind(
        _("Restore"),
        "backups:restore",
        "backups.Restore",
        parents={"stage": "stage", "generation": "generation"},
        holds=["entries__name"],
        titled="backups.history.titles.of_restores",
    ),
    "keychange": SubjectKind(
        _("Change of a key"), "backups:change", "backups.KeyChange", parents={"keychange": "reverses"}, holds=["name"]
    ),
    "bulkchange": SubjectKind(
        _("Bulk change"),
        "backups:bulk_change",
        "backups.BulkChange",
        holds=["restore__entries__name"],
    ),
    "run": SubjectKind(
        _("Run"),
        "run",
        "kvops.Run",
        parents={"generation": "generation", "check": "checks", "drill": "drill", "unexplained": "scan"},
        named=["{}", "{}/late", "{}/check", "{}/dataset"],
    ),
    "prune": SubjectKind(
        _("Prune request"), "backups:prune", "backups.PruneRequest", titled="backups.history.titles.of_prunes"
    ),
    "investigation": SubjectKind(_("Investigation"), "backups:investigation", "backups.Investigation"),
    "clearing": SubjectKind(_("Scheduled clearing"), "backups:clearing", "backups.Clearing"),
    "drill": SubjectKind(_("Drill"), "backups:drill", "backups.Drill"),
    "unexplained": SubjectKind(
        _("Unexplained changes"),
        "unexplained-scan",
        "kvops.Scan",
        holds=["unexplained_deletions__name", "unexpected_keys__name"],
    ),
    "outside": SubjectKind(
        _("Settings changed outside KVOps"),
        "backups:outside",
        "backups.OutsideSearch",
        holds=["changes__name"],
    ),
    "schedule": SubjectKind(_("Schedule"), "schedule", "kvops.Schedule", titled="kvops.schedules.jobs.of_schedules"),
    "stated": SubjectKind(
        _("Operation outside KVOps"), "runbook-stated", "kvops.StatedOperation", holds=["names__contains"]
    ),
    "search": SubjectKind(_("Search for code references"), "reference-search", "kvops.ReferenceSearch"),
    "object": SubjectKind(_("Object"), "backups:storage_object"),
}
"""Kind -> how it lies in the tree. Everything is named by strings, so that `kvops` does not import the apps above it.

A system check resolves each name. A subject of another kind, such as `namespace:1`, is a tree of its own.
"""
