"""The outcome of a run for each key that it was to delete or to write: names and outcomes, never values."""

from collections.abc import Iterator

from django.db.models import OuterRef, QuerySet, Subquery

from backups.models import CleanupEntry, CleanupException, CleanupStage, Restore, RestoreEntry
from kvops.models import Run

DELETED = "deleted"
NOT_REACHED = "planned"
"""The outcome of a name that the run has not reached, as restores spell it."""
CHUNK = 10_000


def has_outcomes(run: Run) -> bool:
    """Whether the run has an outcome for each key."""
    return _stage(run).exists() or _restore(run).exists()


def outcomes_of(run: Run) -> Iterator[tuple[str, str]]:
    """Each name with its outcome, in the order of the run."""
    for restore in _restore(run):
        written = RestoreEntry.objects.filter(restore=restore).order_by("index")
        yield from written.values_list("name", "outcome").iterator(CHUNK)
    for stage in _stage(run):
        excepted = CleanupException.objects.filter(stage=stage, index=OuterRef("index")).values("outcome")[:1]
        entries = CleanupEntry.objects.filter(stage=stage).order_by("index").annotate(outcome=Subquery(excepted))
        for index, name, outcome in entries.values_list("index", "name", "outcome").iterator(CHUNK):
            yield name, outcome or (DELETED if _reached(stage, run, index) else NOT_REACHED)


def _reached(stage: CleanupStage, run: Run, index: int) -> bool:
    """Whether the deletion has reached a name. Of a stage that still deletes, the run counts the names that it has."""
    return stage.state != CleanupStage.State.DELETING or index < run.done


def _stage(run: Run) -> QuerySet[CleanupStage]:
    return CleanupStage.objects.filter(run=run)


def _restore(run: Run) -> QuerySet[Restore]:
    return Restore.objects.filter(run=run)
