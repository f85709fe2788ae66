"""Ending a deletion early: nothing more is sent, and every sent name is read once more before it is reported.

No further try follows, so the names are read when no stale read is possible, also those that were found unchanged
before.
"""

from django.db import connection
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.cleanup.stages import CleanupRefused, insist_operator, locked
from backups.deletion import chunks as deletion_chunks
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops.models import Person, Run
from kvops.runs import driver as run_driver

State = CleanupStage.State

# Names of a stage are many; they never leave the database.
_STOP = """
INSERT INTO backups_cleanupexception (stage_id, index, name, outcome)
SELECT stage_id, index, name, 'stopped' FROM backups_cleanupentry
 WHERE stage_id = %(stage)s AND index > %(last)s
ON CONFLICT (stage_id, index) DO NOTHING
"""


def end_early(stage: CleanupStage, *, by: Person) -> None:
    """Send nothing more of a stopped or failed deletion: the names not sent become leftovers, the rest is settled."""
    with log.transaction():
        insist_operator(by)
        mine = locked(stage)
        if mine.state != State.DELETING or mine.run is None or mine.run.state not in Run.RESUMABLE:
            raise CleanupRefused(_("Only a deletion that was stopped or failed can be ended early. Stop it first."))
        deletion_chunks.leave(*mine.chunks.filter(state=CleanupChunk.State.PLANNED))
        # They were sent, and were there when it was early to say so: they are looked at with all that was sent.
        mine.exceptions.filter(outcome=CleanupException.Outcome.ALIVE).delete()
        # Chunks go through the names in order: what lies behind the last one that had something to send was not sent.
        last = deletion_chunks.sent(mine).aggregate(last=Max("last_index"))["last"]
        with connection.cursor() as cursor:
            cursor.execute(_STOP, {"stage": mine.pk, "last": -1 if last is None else last})
        ending = {"phase": "delete", "ending": True}
        if Run.objects.filter(pk=mine.run.pk, state__in=Run.RESUMABLE).update(cursor=ending) != 1:
            raise CleanupRefused(_("The deletion has already resumed. Load the page again."))
        run_driver.go_on(mine.run, actor=by.actor)
