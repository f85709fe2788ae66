"""The frozen names of a clean-up or a restore by the next level of their names, with exact numbers.

The names are frozen in byte order with an index from 0, so the number of keys of a group is the distance to the first
name of the next one. The query jumps from group to group: its cost grows with the groups shown, not with the names.
"""

from typing import NamedTuple

from django.db import connection

from backups.models import CleanupEntry, CleanupStage, Restore, RestoreEntry
from kvops.names import after_prefix

MOST = 12
"""Groups. The rest is told as one number."""
_JUMP = """
WITH RECURSIVE step AS (
  (SELECT {group} AS found, index, 1 AS steps FROM {table} WHERE {work} = %(work)s ORDER BY index LIMIT 1)
  UNION ALL
  SELECT {group}, k.index, step.steps + 1 FROM step, LATERAL (
    SELECT name, index FROM {table}
     WHERE {work} = %(work)s
       AND name >= (CASE WHEN right(step.found, 1) = %(delimiter)s AND length(step.found) > length(%(prefix)s)
                         THEN left(step.found, -1) || %(above)s ELSE step.found || chr(1) END) COLLATE "C"
     ORDER BY name LIMIT 1) k
  WHERE step.steps <= %(most)s)
SELECT found, index FROM step ORDER BY index
"""
_GROUP = (
    "left(name, coalesce(nullif(strpos(substr(name, length(%(prefix)s) + 1), %(delimiter)s), 0)"
    " + length(%(prefix)s), length(name)))"
)
_TABLES = {CleanupStage: (CleanupEntry, "stage_id"), Restore: (RestoreEntry, "restore_id")}


class SubPrefix(NamedTuple):
    """Names with the same next level, such as `master:city:`, and their number; or one name without a level."""

    name: str
    keys: int
    is_prefix: bool


def by_subprefix(work: CleanupStage | Restore, prefix: str, *, delimiter: str = ":") -> tuple[list[SubPrefix], int]:
    """The first groups below the prefix, at most twelve, and the number of the keys in the groups after them."""
    model, column = _TABLES[type(work)]
    query = _JUMP.format(table=model._meta.db_table, work=column, group=_GROUP)
    params: dict[str, int | str | None] = {
        "work": work.pk,
        "prefix": prefix,
        "delimiter": delimiter,
        "above": after_prefix(delimiter),
        "most": MOST,
    }
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        rows = cursor.fetchall()
    ends = [*(index for _, index in rows[1:]), work.names]
    found = [
        SubPrefix(name, end - index, name.endswith(delimiter) and len(name) > len(prefix))
        for (name, index), end in zip(rows, ends, strict=False)  # without a name there is an end alone
    ]
    rest = sum(one.keys for one in found[MOST:])
    return found[:MOST], rest
