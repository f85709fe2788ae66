"""Ending a deletion early: nothing more is sent, and every sent name is read once more before it is reported.

No further attempt follows, so the names are read when no stale read is possible, also those that were found unchanged
before.
"""

from django.db import connection
from django.db.models import Max

from backups.cleanup.stages import STAGES
from backups.deletion import chunks as deletion_chunks
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops.models import Person, Run

# A stage may have many names, so they stay in the database.
_STOP = """
INSERT INTO backups_cleanupexception (stage_id, index, name, outcome)
SELECT stage_id, index, name, 'stopped' FROM backups_cleanupentry
 WHERE stage_id = %(stage)s AND index > %(last)s
ON CONFLICT (stage_id, index) DO NOTHING
"""


def end_early(stage: CleanupStage, *, by: Person) -> None:
    """End a stopped or failed deletion early: unsent names become leftovers, the sent ones are settled."""
    STAGES.end_early(stage, _leave_the_rest, by=by)


def _leave_the_rest(stage: CleanupStage, _run: Run) -> dict[str, object]:
    """The cursor of a run that settles but sends nothing; the unsent names become leftovers."""
    deletion_chunks.leave(*stage.chunks.filter(state=CleanupChunk.State.PLANNED))
    # The keys were sent, but this result may be a stale read: they are read again with all other sent names.
    stage.exceptions.filter(outcome=CleanupException.Outcome.ALIVE).delete()
    # Chunks take the names in order: names after the last sent chunk were not sent.
    last = deletion_chunks.sent(stage).aggregate(last=Max("last_index"))["last"]
    with connection.cursor() as cursor:
        cursor.execute(_STOP, {"stage": stage.pk, "last": -1 if last is None else last})
    return {"phase": "delete", "ending": True}
