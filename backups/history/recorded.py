"""The entries that backups and clean-ups must have in the audit log, and the heads of the log that backups keep."""

from collections.abc import Iterator

from audit.actions import Action
from audit.claims import KnownHead, NotReadable, RowClaim
from backups.bucket import newest_manifest
from backups.bucket.store import StoreError
from backups.models import Check, CleanupRequest, CleanupStage, Generation, KeyChange, Restore
from kvops.models import DatabaseRollback, Environment, Run
from kvops.rollback import Seen

Status, State = Generation.Status, CleanupStage.State
_GENERATIONS, _STAGES = Generation._meta.db_table, CleanupStage._meta.db_table
_RESTORES, _CHECKS = Restore._meta.db_table, Check._meta.db_table

ROWS = (
    RowClaim(table=_GENERATIONS, kind="generation", action=Action.GENERATION_STARTED, moment="started_at"),
    RowClaim(
        table=_GENERATIONS,
        kind="generation",
        action=Action.GENERATION_VERIFIED,
        column="status",
        values=(Status.VERIFIED,),
        moment="verified_at",
    ),
    RowClaim(
        table=_GENERATIONS,
        kind="generation",
        action=Action.GENERATION_DELETED,
        column="status",
        values=(Status.DELETED,),
    ),
    RowClaim(table=_CHECKS, kind="check", action=Action.CHECK_STARTED, moment="started_at"),
    RowClaim(table=CleanupRequest._meta.db_table, kind="cleanup", action=Action.CLEANUP_REQUESTED, moment="created_at"),
    RowClaim(table=_STAGES, kind="stage", action=Action.STAGE_DELETING, column="state", values=(State.DELETING,)),
    RowClaim(table=_STAGES, kind="stage", action=Action.STAGE_DELETED, column="state", values=(State.DELETED,)),
    RowClaim(
        table=_STAGES,
        kind="stage",
        action=Action.STAGE_CONFIRMED,
        column="state",
        values=(State.CONFIRMED, State.ACCEPTED),
    ),
    RowClaim(table=_STAGES, kind="stage", action=Action.STAGE_ACCEPTED, column="state", values=(State.ACCEPTED,)),
    RowClaim(
        table=_RESTORES,
        kind="restore",
        action=Action.RESTORE_FINISHED,
        column="state",
        values=(Restore.State.DONE,),
        sort="operation",
        sorts=(Restore.Operation.RESTORE,),
        moment="finished_at",
    ),
    RowClaim(
        table=_RESTORES,
        kind="bulkchange",
        action=Action.BULK_FINISHED,
        column="state",
        values=(Restore.State.DONE,),
        sort="operation",
        sorts=(Restore.Operation.EXPIRATION, Restore.Operation.MARK),
        moment="finished_at",
    ),
    RowClaim(
        table=KeyChange._meta.db_table,
        kind="keychange",
        action=Action.CHANGE_FINISHED,
        column="state",
        values=(KeyChange.State.DONE,),
        moment="finished_at",
    ),
)


def heads_of_backups() -> Iterator[KnownHead]:
    """The head of the log that each backup's run wrote into its manifest."""
    closed = Run.objects.filter(cursor__phase="close", cursor__has_key="hash").order_by("pk")
    for pk, cursor in closed.values_list("pk", "cursor").iterator():
        yield KnownHead(f"run:{pk}", cursor["sequence"], cursor["hash"])


def heads_of_manifests() -> Iterator[KnownHead]:
    """The head in the newest manifest of each environment's bucket. Raises NotReadable for a silent bucket."""
    silent = []
    for environment in Environment.objects.exclude(r2_bucket="").order_by("order"):
        try:
            seen = newest_manifest.read_newest(environment)
        except StoreError as error:
            silent.append(f"the newest manifest of {environment.slug}: {error}")
        else:
            if seen is not None and not _accepted(environment, seen):
                yield KnownHead(f"{environment.r2_bucket}/{seen.key}", seen.sequence, seen.hash)
    if silent:
        raise NotReadable("; ".join(silent))


def _accepted(environment: Environment, seen: Seen) -> bool:
    """Whether it was accepted that this database is older than the manifest."""
    known = DatabaseRollback.objects.filter(environment=environment, accepted_at__isnull=False)
    return known.filter(modified_at__gte=seen.modified_at).exists()
