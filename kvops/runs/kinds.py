"""The kinds of runs: the handler of each, and the hooks called in the transaction that finishes or resumes it."""

from dataclasses import dataclass

from kvops.models import Run


@dataclass(frozen=True)
class RunKind:
    """The handler of a kind of run, and the functions called in the transaction that finishes or resumes it."""

    handler: str
    finished: tuple[str, ...] = ()
    resumed: str = ""


KINDS: dict[str, RunKind] = {
    Run.Kind.SCAN: RunKind("kvops.inventory.scan.scan"),
    Run.Kind.BACKUP: RunKind(
        "backups.generations.export.export",
        finished=(
            "backups.generations.start.backup_finished",
            "backups.cleanup.preparation.backup_finished",
            "backups.outside_changes.search.backup_finished",
            "backups.changes.bulk.start.backup_finished",
        ),
        resumed="backups.investigations.requests.insist_open",
    ),
    Run.Kind.MASTERS: RunKind("backups.masters.run.export", finished=("backups.generations.start.backup_finished",)),
    Run.Kind.VERIFY: RunKind(
        "backups.generations.start.read_back",
        finished=(
            "backups.cleanup.preparation.verify_finished",
            "backups.outside_changes.search.verify_finished",
            "backups.changes.bulk.start.verify_finished",
        ),
    ),
    Run.Kind.CHECK: RunKind(
        "backups.integrity.start.run_check",
        finished=(
            "backups.cleanup.preparation.check_finished",
            "backups.cleanup.after_check.check_finished",
        ),
    ),
    Run.Kind.DELETE: RunKind("backups.deletion.run.delete_keys_permanently", resumed="backups.deletion.run.let_go_on"),
    Run.Kind.CONFIRM: RunKind(
        "backups.deletion.proof.confirm_absence", finished=("backups.clearing.rounds.confirm_finished",)
    ),
    Run.Kind.CLEAR: RunKind(
        "backups.clearing.run.clear_keys_permanently", resumed="backups.clearing.rounds.insist_begun"
    ),
    Run.Kind.RECONCILE: RunKind("backups.bucket.reconcile.reconcile"),
    Run.Kind.LATE_CHECK: RunKind("backups.deletion.late_check.look_again"),
    Run.Kind.PREVIEW: RunKind("backups.restores.preview.preview"),
    Run.Kind.RESTORE: RunKind("backups.restores.run.run_restore", resumed="backups.execution.revalidation.revalidate"),
    Run.Kind.UNDO: RunKind("backups.restores.run.run_restore", resumed="backups.execution.revalidation.revalidate"),
    Run.Kind.PRUNE: RunKind("backups.retention.run.prune_permanently"),
    Run.Kind.COMPARISON: RunKind("backups.comparisons.start.compare_backups"),
    Run.Kind.DRILL: RunKind("backups.drills.run.run_drill"),
    Run.Kind.PRUNE_INVESTIGATION: RunKind(
        "backups.investigations.run.prune_investigation_permanently",
        resumed="backups.investigations.requests.insist_current",
    ),
    Run.Kind.CHANGE: RunKind("backups.changes.run.run_change", resumed="backups.execution.revalidation.revalidate"),
    Run.Kind.BULK_CHANGE: RunKind(
        "backups.changes.bulk.run.run_bulk_change", resumed="backups.execution.revalidation.revalidate"
    ),
    Run.Kind.REVERSE_CHANGE: RunKind("backups.changes.reverse.prepare_reverse"),
    Run.Kind.ERASE_PROPOSAL: RunKind("backups.changes.erase.erase_proposal"),
    Run.Kind.OUTSIDE: RunKind("backups.outside_changes.search.search"),
    Run.Kind.COMPARE_SETTING: RunKind("backups.outside_changes.one_key.compare_one"),
    Run.Kind.VAULT: RunKind("backups.vault.run.keep_in_vault"),
    Run.Kind.VAULT_CHECK: RunKind("backups.vault.check.look_into_vault"),
    Run.Kind.LOOK: RunKind("kvops.references.look.work"),
    Run.Kind.SEARCH: RunKind("kvops.references.scripts.work"),
}
"""Kind -> functions by name, so that `kvops` does not import the apps above it. A system check resolves each name."""
