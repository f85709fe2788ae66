"""The keys that KVOps deleted itself, and the prefixes it emptied, as SQL for the inventory (named by strings).

The inventory must not know clean-ups.

A name counts if its chunk was sent, or may have been. The intent must be newer than the start of the key's last
listing, less 300 s by which a listing may lag. It does not count if a restore or an undo wrote it, or found it there,
after that and at least 300 s before the scan began.
"""

from collections.abc import Iterable

from backups.models import CleanupException, CleanupStage, RestoreEntry
from kvops.models import Category

Outcome = CleanupException.Outcome
NOT_BY_US = (Outcome.CHANGED, Outcome.VANISHED, Outcome.EXPIRED, Outcome.STOPPED, Outcome.REAPPEARED)
"""Outcomes of names that were not sent, survived, or were written again after the deletion."""

Restored = RestoreEntry.Outcome
PRESENT_AGAIN = (
    Restored.SENT,
    Restored.WRITTEN,
    Restored.EQUAL,
    Restored.VALUE,
    Restored.METADATA,
    Restored.EXPIRATION,
    Restored.SENSITIVE,
    Restored.CHANGED,
    Restored.DIFFERENT,
    Restored.UNREADABLE,
    Restored.LOST,
    Restored.UNMARKED,
)
"""Outcomes of names that a restore, an undo or a bulk change wrote, or found in KV, or may have found there."""
MAY_BE = (Restored.PLANNED, Restored.AGAIN)
"""Outcomes of names that a chunk with an unknown answer may have written."""

# A chunk without an answer may have been sent; an `unsent` chunk was certainly not.
_DELETED = """
SELECT e.name, c.intended_at AS at
  FROM backups_cleanupstage g
  JOIN backups_cleanupchunk c ON c.stage_id = g.id
  JOIN backups_cleanupentry e ON e.stage_id = g.id AND e.index BETWEEN c.first_index AND c.last_index
 WHERE g.namespace_id = %(namespace)s AND c.names > 0 AND NOT c.answer ? 'unsent' AND c.intended_at >= %(since)s
   AND NOT EXISTS (SELECT FROM backups_cleanupexception x
                    WHERE x.stage_id = g.id AND x.index = e.index AND x.outcome IN ({not_by_us}))
   AND NOT EXISTS (SELECT FROM backups_restore r
                     JOIN backups_restorechunk b ON b.restore_id = r.id
                     JOIN backups_restoreentry p ON p.restore_id = r.id
                                                AND p.index BETWEEN b.first_index AND b.last_index
                    WHERE r.namespace_id = %(namespace)s AND b.intended_at BETWEEN %(since)s AND %(shown)s
                      AND p.name = e.name AND b.intended_at > c.intended_at
                      AND (p.outcome IN ({present_again}) OR (b.state = 'intended' AND p.outcome IN ({may_be}))))"""


def deleted_by_us() -> str:
    """SQL: each name of the namespace that an approved deletion sent or may have sent since then, with the time.

    Names that a restore or an undo wrote, or found, between the deletion and the listing are left out.
    """
    return _DELETED.format(not_by_us=_listed(NOT_BY_US), present_again=_listed(PRESENT_AGAIN), may_be=_listed(MAY_BE))


_EMPTIED = """
SELECT DISTINCT q.prefix
  FROM backups_cleanupstage g
  JOIN backups_cleanuprequest q ON q.id = g.request_id
  JOIN kvops_family f ON f.id = q.family_id
 WHERE g.namespace_id = %(namespace)s AND g.state IN ({proven}) AND q.category = '{legacy}'
   AND NOT q.exact AND NOT f.exact"""


def emptied_by_us() -> str:
    """SQL: each prefix of the namespace whose legacy keys a clean-up proved gone. No key may come back under it.

    Caches are left out, because they are written again.
    """
    proven = _listed([CleanupStage.State.CONFIRMED, CleanupStage.State.ACCEPTED])
    return _EMPTIED.format(proven=proven, legacy=Category.LEGACY)


def _listed(outcomes: Iterable[str]) -> str:
    return ", ".join(f"'{outcome}'" for outcome in outcomes)
