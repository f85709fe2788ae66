"""Ending a deletion early: nothing more is sent, and every sent name is read once more before it is reported.

No further try follows, so the names are read when no stale read is possible, also those that were found unchanged
before.
"""

from django.db import connection
from django.db.models import Max

from backups.cleanup.stages import STAGES
from backups.deletion import chunks as deletion_chunks
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops.models import Person, Run

# Names of a stage are many; they never leave the database.
_STOP = """
INSERT INTO backups_cleanupexception (stage_id, index, name, outcome)
SELECT stage_id, index, name, 'stopped' FROM backups_cleanupentry
 WHERE stage_id = %(stage)s AND index > %(last)s
ON CONFLICT (stage_id, index) DO NOTHING
"""


def end_early(stage: CleanupStage, *, by: Person) -> None:
    """Send nothing more of a stopped or failed deletion: the names not sent become leftovers, the rest is settled."""
    STAGES.end_early(stage, _leave_the_rest, by=by)


def _leave_the_rest(stage: CleanupStage, _run: Run) -> dict[str, object]:
    """The cursor of a run that settles, but sends nothing; the names not sent are leftovers from now on."""
    deletion_chunks.leave(*stage.chunks.filter(state=CleanupChunk.State.PLANNED))
    # They were sent, and were there when it was early to say so: they are looked at with all that was sent.
    stage.exceptions.filter(outcome=CleanupException.Outcome.ALIVE).delete()
    # Chunks go through the names in order: what lies behind the last one that had something to send was not sent.
    last = deletion_chunks.sent(stage).aggregate(last=Max("last_index"))["last"]
    with connection.cursor() as cursor:
        cursor.execute(_STOP, {"stage": stage.pk, "last": -1 if last is None else last})
    return {"phase": "delete", "ending": True}
