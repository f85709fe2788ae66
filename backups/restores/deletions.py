"""The deletions whose keys a restore brings back: their stages say so, and are no evidence for another environment."""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet

from backups.models import CleanupEntry, CleanupException, CleanupStage, Restore, RestoreEntry

Outcome = RestoreEntry.Outcome
State = CleanupStage.State

WRITTEN = (Outcome.WRITTEN, Outcome.DIFFERENT, Outcome.FAILED)
"""Outcomes of names that were written. The write may have been changed since, or may not be visible yet."""


def link(restore: Restore, outcomes: Sequence[str] = Outcome.values) -> None:
    """Link the restore with each stage that deleted one of its names, within the caller's transaction.

    `outcomes` are those of the names that count: all of them at the start, the written ones at the end. An undo has
    its stage already.
    """
    found = _stages(restore, RestoreEntry.objects.filter(restore=restore, outcome__in=outcomes))
    restore.deletions.set(found.exclude(pk=restore.stage_id) if restore.stage_id else found)


def brought_back(restore: Restore) -> QuerySet[CleanupStage]:
    """The stages that deleted a name which the restore, as it was compared with KV, would write."""
    conflicts = RestoreEntry.CONFLICTS if restore.on_conflict == Restore.OnConflict.OVERWRITE else ()
    written = RestoreEntry.objects.filter(restore=restore, found__in=[RestoreEntry.Found.ABSENT, *conflicts])
    return _stages(restore, written).select_related("environment").order_by("pk")


def _stages(restore: Restore, entries: QuerySet[RestoreEntry]) -> QuerySet[CleanupStage]:
    """The stages of the same namespace that deleted a name of these entries."""
    named = entries.filter(name=OuterRef("name"))
    left = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    deleted = CleanupEntry.objects.filter(Exists(named), ~Exists(left), stage=OuterRef("pk"))
    begun = [State.DELETING, State.DELETED, State.CONFIRMED, State.ACCEPTED]
    return CleanupStage.objects.filter(Exists(deleted), namespace=restore.namespace, state__in=begun)
