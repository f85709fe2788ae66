"""KVOps' own operations on keys: changes, restores and undos, deletions.

Each way in which KVOps writes or deletes a key is here. A new one joins `SOURCES`. A test compares them with the
packages that may write to KV.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q

from backups.models import CleanupException, GenerationEntry, KeyChange, RestoreEntry
from backups.outside_changes.explained import ABSENT, KeyContent, OwnOperation
from kvops import clock
from kvops.models import Namespace

type Source = Callable[[Namespace, Collection[str], datetime, datetime], Iterator[OwnOperation]]

_RESTORES = """
SELECT p.name, p.outcome, s.digest, s.older_digest, s.expiration, g.digest_key, g.older_digest_key,
       min(b.intended_at), max(coalesce(b.settled_at, %(now)s))
  FROM backups_restoreentry p
  JOIN backups_restore r ON r.id = p.restore_id
  JOIN backups_restorechunk b ON b.restore_id = r.id AND p.index BETWEEN b.first_index AND b.last_index
  JOIN backups_generation g ON g.id = r.generation_id
  LEFT JOIN backups_generationentry s ON s.generation_id = r.generation_id AND s.name = p.name AND s.outcome = %(kept)s
 WHERE r.namespace_id = %(namespace)s AND p.name = ANY(%(names)s) AND b.names > 0 AND b.intended_at IS NOT NULL
   AND r.operation = '' AND p.outcome <> ALL(%(unwritten)s)
 GROUP BY p.id, s.id, g.id
HAVING max(coalesce(b.settled_at, %(now)s)) >= %(since)s AND min(b.intended_at) <= %(until)s"""

_UNWRITTEN = (
    RestoreEntry.Outcome.EQUAL,
    RestoreEntry.Outcome.VALUE,
    RestoreEntry.Outcome.METADATA,
    RestoreEntry.Outcome.EXPIRATION,
    RestoreEntry.Outcome.SENSITIVE,
    RestoreEntry.Outcome.CHANGED,
    RestoreEntry.Outcome.EXPIRED,
    RestoreEntry.Outcome.SOON,
    RestoreEntry.Outcome.UNREADABLE,
)
"""Outcomes of names that a restore never sent."""

# A chunk without an answer may have been sent; an `unsent` chunk was certainly not.
_DELETIONS = """
SELECT e.name, min(c.intended_at), max(coalesce(c.settled_at, %(now)s)),
       bool_and(c.settled_at IS NOT NULL) AND bool_and(x.id IS NULL)
  FROM backups_cleanupentry e
  JOIN backups_cleanupstage g ON g.id = e.stage_id
  JOIN backups_cleanupchunk c ON c.stage_id = g.id AND e.index BETWEEN c.first_index AND c.last_index
  LEFT JOIN backups_cleanupexception x ON x.stage_id = g.id AND x.index = e.index
 WHERE g.namespace_id = %(namespace)s AND e.name = ANY(%(names)s) AND c.names > 0 AND c.intended_at IS NOT NULL
   AND NOT c.answer ? 'unsent' AND (x.id IS NULL OR x.outcome <> ALL(%(unsent)s))
 GROUP BY e.id
HAVING max(coalesce(c.settled_at, %(now)s)) >= %(since)s AND min(c.intended_at) <= %(until)s"""

_UNSENT = (
    CleanupException.Outcome.CHANGED,
    CleanupException.Outcome.VANISHED,
    CleanupException.Outcome.EXPIRED,
    CleanupException.Outcome.STOPPED,
)
"""Outcomes of names that a deletion never sent."""


TOUCHED = """
SELECT name FROM backups_keychange
 WHERE namespace_id = %(namespace)s AND attempt > 0 AND (finished_at IS NULL OR finished_at >= %(since)s)
UNION
SELECT p.name
  FROM backups_restorechunk b
  JOIN backups_restore r ON r.id = b.restore_id
  JOIN backups_restoreentry p ON p.restore_id = r.id AND p.index BETWEEN b.first_index AND b.last_index
 WHERE r.namespace_id = %(namespace)s AND b.intended_at <= %(until)s
   AND (b.settled_at IS NULL OR b.settled_at >= %(since)s)
UNION
SELECT e.name
  FROM backups_cleanupchunk c
  JOIN backups_cleanupstage g ON g.id = c.stage_id
  JOIN backups_cleanupentry e ON e.stage_id = g.id AND e.index BETWEEN c.first_index AND c.last_index
 WHERE g.namespace_id = %(namespace)s AND c.intended_at <= %(until)s
   AND (c.settled_at IS NULL OR c.settled_at >= %(since)s)"""
"""SQL: the names of a namespace that an operation of `SOURCES` may have acted on in this time."""


def of_names(
    namespace: Namespace, names: Collection[str], since: datetime, until: datetime
) -> Mapping[str, Sequence[OwnOperation]]:
    """The operations on these keys that may have acted in this time, by name."""
    found: dict[str, list[OwnOperation]] = defaultdict(list)
    for source in SOURCES:
        for operation in source(namespace, names, since, until):
            found[operation.name].append(operation)
    return found


def _changes(namespace: Namespace, names: Collection[str], since: datetime, until: datetime) -> Iterator[OwnOperation]:
    """Changes of keys. The run of a change knows both digests. It may have written at any time from its start on."""
    tried = KeyChange.objects.filter(namespace=namespace, name__in=names, attempt__gt=0, run__created_at__lte=until)
    tried = tried.filter(Q(finished_at__isnull=True) | Q(finished_at__gte=since))
    for change in tried.select_related("run"):
        if change.run is None:  # never, by constraint
            continue
        before = {change.digest_key: change.digest_before}
        yield OwnOperation(
            change.name,
            change.run.created_at,
            change.finished_at or clock.now(),
            KeyContent({change.digest_key: change.digest_after}, change.expiration_after),
            KeyContent(before, change.expiration_before) if change.digest_before else ABSENT,
            certain=change.outcome == KeyChange.Outcome.WRITTEN,
        )


def _restores(namespace: Namespace, names: Collection[str], since: datetime, until: datetime) -> Iterator[OwnOperation]:
    """Restores and undos: each leaves the entry of its backup. A bulk change does not, and is of a cache only."""
    params = {"kept": GenerationEntry.Outcome.KEPT, "unwritten": list(_UNWRITTEN)}
    rows = _rows(_RESTORES, {**params, **_within(namespace, names, since, until)})
    for name, outcome, digest, older, expiration, key, older_key, begun_at, ended_at in rows:
        yield OwnOperation(
            name,
            begun_at,
            ended_at,
            KeyContent(digests({key: digest, older_key: older}), expiration),
            certain=outcome == RestoreEntry.Outcome.WRITTEN,
        )


def _deletions(
    namespace: Namespace, names: Collection[str], since: datetime, until: datetime
) -> Iterator[OwnOperation]:
    """Deletions of clean-ups, also of single keys."""
    params = {"unsent": list(_UNSENT), **_within(namespace, names, since, until)}
    for name, begun_at, ended_at, certain in _rows(_DELETIONS, params):
        yield OwnOperation(name, begun_at, ended_at, ABSENT, certain=certain)


SOURCES: Sequence[Source] = (_changes, _restores, _deletions)
"""The operations of each package that may write to KV."""


def digests(by_key: Mapping[str, bytes | None]) -> dict[str, str]:
    """The known keyed digests in hex, by the id of their key."""
    return {key: bytes(digest).hex() for key, digest in by_key.items() if key and digest}


def _within(namespace: Namespace, names: Collection[str], since: datetime, until: datetime) -> dict[str, object]:
    """The parameters that both queries have."""
    return {"namespace": namespace.pk, "names": list(names), "since": since, "until": until, "now": clock.now()}


def _rows(query: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return list(cursor.fetchall())
