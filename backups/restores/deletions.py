"""The deletions whose keys a restore brings back: their stages say so, and are no evidence for another environment."""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef

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
    of_restore = RestoreEntry.objects.filter(restore=restore, outcome__in=outcomes, name=OuterRef("name"))
    left = CleanupException.objects.filter(stage=OuterRef("stage"), index=OuterRef("index"))
    deleted = CleanupEntry.objects.filter(Exists(of_restore), ~Exists(left), stage=OuterRef("pk"))
    begun = [State.DELETING, State.DELETED, State.CONFIRMED, State.ACCEPTED]
    found = CleanupStage.objects.filter(Exists(deleted), namespace=restore.namespace, state__in=begun)
    restore.deletions.set(found.exclude(pk=restore.stage_id) if restore.stage_id else found)
