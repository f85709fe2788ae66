"""The keys that KVOps wrote back, as SQL for the inventory, which must not know restores (named by a string).

A name counts if a chunk of a restore, an undo or a bulk change sent it, or may have sent it: the key is then no
unexpected key.
"""

from backups.models import RestoreChunk, RestoreEntry

Outcome = RestoreEntry.Outcome
WRITTEN = (Outcome.SENT, Outcome.AGAIN, Outcome.WRITTEN, Outcome.DIFFERENT, Outcome.FAILED, Outcome.LOST)
"""Outcomes of sent names. A write that three reads did not show may still become visible. An equal key was not sent."""

_RESTORED = """
SELECT p.name, b.intended_at AS at
  FROM backups_restore r
  JOIN backups_restorechunk b ON b.restore_id = r.id
  JOIN backups_restoreentry p ON p.restore_id = r.id AND p.index BETWEEN b.first_index AND b.last_index
 WHERE r.namespace_id = %(namespace)s AND b.names > 0 AND b.intended_at >= %(since)s
   AND (p.outcome IN ({written}) OR (b.state = '{intended}' AND p.outcome = '{planned}'))"""


def restored_by_us() -> str:
    """SQL: each name of the namespace that a restore or an undo wrote or may have written since then, with the time."""
    written = ", ".join(f"'{outcome}'" for outcome in WRITTEN)
    return _RESTORED.format(written=written, intended=RestoreChunk.State.INTENDED, planned=Outcome.PLANNED)
