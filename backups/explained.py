"""Which keys KVOps deleted itself: for the inventory, which must not know what a clean-up is."""

from backups.models import CleanupException

Outcome = CleanupException.Outcome
NOT_BY_US = (Outcome.CHANGED, Outcome.VANISHED, Outcome.EXPIRED, Outcome.STOPPED, Outcome.REAPPEARED)
"""Names of a chunk with one of these were not sent, or were written again after they were."""

# A chunk whose answer never came may have been sent; one that is `unsent` was surely not.
_DELETED = """
SELECT e.name, c.intended_at AS at
  FROM backups_cleanupstage g
  JOIN backups_cleanupchunk c ON c.stage_id = g.id
  JOIN backups_cleanupentry e ON e.stage_id = g.id AND e.index BETWEEN c.first_index AND c.last_index
 WHERE g.namespace_id = %(namespace)s AND c.names > 0 AND NOT c.answer ? 'unsent' AND c.intended_at >= %(since)s
   AND NOT EXISTS (SELECT FROM backups_cleanupexception x
                    WHERE x.stage_id = g.id AND x.index = e.index AND x.outcome IN ({outcomes}))"""


def deleted_by_us() -> str:
    """SQL: each name of the namespace that an approved deletion sent, or may have sent, since then, and when."""
    return _DELETED.format(outcomes=", ".join(f"'{outcome.value}'" for outcome in NOT_BY_US))
