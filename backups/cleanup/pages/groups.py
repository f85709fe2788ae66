"""The frozen names of a stage by sub-prefix, and how far the deletion has come in each.

The names are stored in byte order, so a sub-prefix is one range of indexes. The database jumps from range to range, so
the time depends on the number of sub-prefixes, not of names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.db import connection
from django.db.models import Count, Max, Q

from backups.models import CleanupChunk, CleanupStage

MOST = 40
"""Ranges; more are not looked for, and their names stand in one line."""

_SENT = (CleanupChunk.State.SENT, CleanupChunk.State.SETTLED)
_RANGES = """
WITH RECURSIVE ranges(index, name, number) AS (
  (SELECT index, name, 1 FROM backups_cleanupentry WHERE stage_id = %(stage)s ORDER BY name LIMIT 1)
  UNION ALL
  SELECT following.index, following.name, ranges.number + 1
  FROM ranges CROSS JOIN LATERAL (
    SELECT index, name FROM backups_cleanupentry
    WHERE stage_id = %(stage)s AND name >= CASE position(':' IN substr(ranges.name, %(length)s + 1))
      WHEN 0 THEN ranges.name || chr(1)
      ELSE left(ranges.name, %(length)s + position(':' IN substr(ranges.name, %(length)s + 1)) - 1) || ';' END
    ORDER BY name LIMIT 1
  ) AS following
  WHERE ranges.number <= %(most)s
)
SELECT index, name FROM ranges ORDER BY index
"""


@dataclass(frozen=True)
class NameGroup:
    """The names under one sub-prefix; without a prefix: the remaining names.

    `deleted` were sent to be deleted, `kept` were left with a reason, and the others are still there.
    """

    prefix: str
    names: int
    deleted: int
    kept: int

    @property
    def left(self) -> int:
        """The names that the deletion has not reached."""
        return self.names - self.deleted - self.kept


def groups_of(stage: CleanupStage) -> list[NameGroup]:
    """The names of the stage by sub-prefix, in order; the names without one, and those of further ones, at the end."""
    ranges = _ranges(stage)
    reached = _reached(stage)
    kept = _kept(stage, [(first, last) for _prefix, first, last in ranges]) if reached else [0] * len(ranges)
    sent = [max(0, min(last, reached) - first) for _prefix, first, last in ranges]
    found = [
        NameGroup(prefix, last - first, max(0, some - out), out)
        for (prefix, first, last), some, out in zip(ranges, sent, kept, strict=True)
    ]
    if rest := stage.names - sum(group.names for group in found):
        out = stage.exceptions.count() - sum(kept) if reached else 0
        found.append(NameGroup("", rest, max(0, min(reached, stage.names) - sum(sent) - out), out))
    return found


def _ranges(stage: CleanupStage) -> list[tuple[str, int, int]]:
    """Each sub-prefix with its first index and the index after its last."""
    prefix = stage.request.prefix
    if stage.request.exact or not stage.names:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_RANGES, {"stage": stage.pk, "length": len(prefix), "most": MOST})
        rows: list[tuple[int, str]] = cursor.fetchall()
    if len(rows) <= MOST:
        rows.append((stage.names, ""))
    found = []
    for (first, name), (after, _name) in pairwise(rows):
        group, colon, _rest = name[len(prefix) :].partition(":")
        if colon:
            found.append((f"{prefix}{group}:", first, after))
    return found


def _reached(stage: CleanupStage) -> int:
    """The index after the last name that was sent. Chunks are sent in the order of the names."""
    if stage.run_id is None:
        return 0
    last = stage.chunks.filter(state__in=_SENT).aggregate(last=Max("last_index"))["last"]
    return 0 if last is None else last + 1


def _kept(stage: CleanupStage, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The names in each range that were not deleted."""
    counts = {
        f"in_{at}": Count("pk", filter=Q(index__gte=first, index__lt=last)) for at, (first, last) in enumerate(ranges)
    }
    found = stage.exceptions.aggregate(**counts) if counts else {}
    return [found[f"in_{at}"] for at in range(len(ranges))]
