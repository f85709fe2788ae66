"""Since when a settings value is unchanged, from the keyed digests of backups and from KVOps' own changes.

A digest in Postgres is of the whole entry: value, metadata and expiration. Two backups that have the same digest of a
key prove that none of the three differs. Only digests of the same digest key are compared. The first backup after a new
digest key has those of the older key too, so the age goes on across it. Without them the value may be older than the
first backup with the new key.

A change of ours is exact to the second. If it changed metadata or expiration alone, the value keeps its age.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from backups.history import deleted_keys
from backups.models import KeyChange, RestoreEntry
from kvops.models import Namespace


class Span(NamedTuple):
    """Consecutive backups that have the same digest of a key: the digest, and the times of the first and the last."""

    digest_key: str
    digest: str
    first: datetime
    last: datetime


class Unchanged(NamedTuple):
    """The time since which a value is unchanged, and whether a change was seen then.

    Without `changed`, the value was the same in the earliest backup that can be compared, so it may be older.
    """

    since: datetime | None
    changed: bool


def of_key(namespace: Namespace, name: str) -> Unchanged:
    """The time since which the value of a key is unchanged, as far as KVOps knows."""
    changes = KeyChange.objects.applied().filter(namespace=namespace, name=name).order_by("pk")
    written = deleted_keys.restores(namespace, [name]).filter(outcome=RestoreEntry.Outcome.WRITTEN)
    restored = [entry.at for entry in written if entry.at]
    return unchanged_since(_spans(namespace, name), list(changes), restored)


def unchanged_since(spans: Sequence[Span], changes: Sequence[KeyChange], restored: Sequence[datetime]) -> Unchanged:
    """The time since which a value is unchanged. `spans` are newest first."""
    kept = {(one.digest_key, one.digest_after, one.digest_before) for one in changes if "value" not in one.parts}
    chain, changed = _chain(spans, kept)
    # What the newest backup does not hold any more was overwritten before it.
    newest = spans[0].last if spans else None
    digests = {(span.digest_key, span.digest) for span in chain}
    written = [one for one in changes if "value" in one.parts or one.new_key]
    moments = [one.settled_at for one in written if _holds(one, newest, digests) and one.settled_at]
    moments += [at for at in restored if newest is None or at > newest]
    if moments:
        return Unchanged(max(moments), changed=True)
    return Unchanged(chain[-1].first if chain else None, changed)


def _chain(spans: Sequence[Span], kept: Collection[tuple[str, str, str]]) -> tuple[Sequence[Span], bool]:
    """The spans with one value, newest first, and whether the span before them has another value."""
    chain = list(spans[:1])
    while chain:
        oldest, keys = chain[-1], {span.digest_key for span in chain}
        before = next((one for one in spans if one.digest_key == oldest.digest_key and one.last < oldest.first), None)
        if before is not None and (before.digest_key, oldest.digest, before.digest) not in kept:
            return chain, True
        # The first backup after a new digest key is in a span of each key.
        shared = (one for one in spans if one.digest_key not in keys and one.first <= oldest.first <= one.last)
        before = before or next(shared, None)
        if before is None:
            break
        chain.append(before)
    return chain, False


def _holds(change: KeyChange, newest: datetime | None, digests: set[tuple[str, str]]) -> bool:
    """Whether a change of ours is newer than the newest backup, or wrote the very entry that the backups hold."""
    newer = newest is None or (change.settled_at is not None and change.settled_at > newest)
    return newer or (change.digest_key, change.digest_after) in digests


# A backup that is being written has no time yet; one of master data holds rows of D1. What a later verification finds
# wrong with objects of the bucket does not touch the digests, which are of KV's own answer.
_READ = """
    SELECT g.{key} AS digest_key, e.{digest} AS digest, g.started_at, g.id, {older} AS older
    FROM backups_generation g JOIN backups_generationentry e ON e.generation_id = g.id
    WHERE g.namespace_id = %(namespace)s AND g.{key} <> '' AND g.status <> 'writing' AND g.purpose <> 'masters'
      AND e.outcome = 'kept' AND e.name = %(name)s"""
_SPANS = f"""
SELECT digest_key, encode(digest, 'hex'), min(started_at), max(started_at) FROM (
  SELECT *, count(*) FILTER (WHERE other) OVER (PARTITION BY digest_key ORDER BY started_at, id) AS span FROM (
    SELECT *, digest IS DISTINCT FROM lag(digest) OVER (PARTITION BY digest_key ORDER BY started_at, id) AS other
    FROM (
      {_READ.format(key="digest_key", digest="digest", older="false")}
      UNION ALL
      {_READ.format(key="older_digest_key", digest="older_digest", older="true")} AND e.older_digest IS NOT NULL
    ) AS read
  ) AS compared
) AS spans GROUP BY digest_key, digest, span ORDER BY max(started_at) DESC, bool_or(older)
"""  # noqa: S608  (constants of this module)


def _spans(namespace: Namespace, name: str) -> list[Span]:
    """The spans of equal digests in the encrypted backups, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_SPANS, {"namespace": namespace.pk, "name": name})
        return [Span(*row) for row in cursor.fetchall()]
