"""The two sides of a check in Postgres while it runs: digests by key name, compared as sets, emptied at the end."""

import json
from collections.abc import Iterable, Mapping, Sequence

from django.db import connection

from backups.datasets.canonical import DIGEST
from backups.datasets.mapping import Finding
from backups.models import Check, CheckRow, Difference

MAX_STORED = 10_000
"""Differences kept by name; the count has all of them."""

Side = CheckRow.Side

_FIND = """
WITH backup AS (
    SELECT DISTINCT ON (name) name, fields FROM backups_checkrow
    WHERE check_run_id = %(check)s AND side = 'backup' ORDER BY name
), d1 AS (
    SELECT DISTINCT ON (name) name, fields FROM backups_checkrow
    WHERE check_run_id = %(check)s AND side = 'd1' ORDER BY name
), pair AS MATERIALIZED (
    SELECT backup.name AS in_backup, d1.name AS in_d1, backup.fields AS ours, d1.fields AS theirs
    FROM backup FULL JOIN d1 ON backup.name = d1.name
    WHERE backup.name IS NULL OR d1.name IS NULL OR (backup.fields <> d1.fields AND backup.fields <> 'null')
), found (name, kind, field) AS MATERIALIZED (
    SELECT in_backup, 'missing_in_d1', '' FROM pair WHERE in_d1 IS NULL
    UNION ALL
    SELECT in_d1, 'only_in_d1', '' FROM pair WHERE in_backup IS NULL
    UNION ALL
    SELECT in_backup, 'field', field FROM pair, unnest(%(fields)s::text[]) AS field
    WHERE in_backup IS NOT NULL AND in_d1 IS NOT NULL AND coalesce(ours ->> field, '') NOT IN
        (left(coalesce(theirs ->> field, ''), %(digest)s), right(coalesce(theirs ->> field, ''), %(digest)s))
    UNION ALL
    SELECT name, 'duplicate', '' FROM backups_checkrow
    WHERE check_run_id = %(check)s GROUP BY side, name HAVING count(*) > 1
), kept AS (
    INSERT INTO backups_difference (check_run_id, name, kind, field)
    SELECT %(check)s, name, kind, left(field, 200) FROM found
    WHERE kind <> ALL(%(allowed)s::text[]) ORDER BY name, kind, field LIMIT %(room)s
)
SELECT kind, count(*) FROM found GROUP BY kind
"""


def storable(name: str) -> bool:
    """Whether Postgres can hold the name. A name that it cannot hold is in no scan and no backup either."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def stage_side(check: Check, side: Side, rows: Iterable[tuple[str, Mapping[str, str] | None]]) -> None:
    """Add names with the digests of their fields; None for a value that is no object."""
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY backups_checkrow (check_run_id, side, name, fields) FROM STDIN") as rows_in,
    ):
        for name, digests in rows:
            rows_in.write_row((check.pk, side.value, name, json.dumps(digests)))


def note_differences(check: Check, findings: Sequence[Finding], *, room: int) -> None:
    """Keep differences that one side shows alone, up to the room left for them."""
    Difference.objects.bulk_create(
        Difference(check_run=check, name=_shown(found.name), kind=found.kind, field=_shown(found.field)[:200])
        for found in findings[: max(room, 0)]
    )


def staged(check: Check, side: Side) -> int:
    """The number of rows of one side."""
    return CheckRow.objects.filter(check_run=check, side=side).count()


def find(check: Check, fields: Sequence[str], *, allowed: Sequence[str], room: int) -> dict[str, int]:
    """Compare the sides and return the number of differences by kind. Kinds in `allowed` are counted and not kept."""
    with connection.cursor() as cursor:
        cursor.execute(
            _FIND,
            {
                "check": check.pk,
                "fields": list(fields),
                "digest": DIGEST,
                "allowed": list(allowed),
                "room": max(room, 0),
            },
        )
        return {str(kind): int(count) for kind, count in cursor.fetchall()}


def clear_sides(check: Check, *, findings: bool = False) -> None:
    """Empty both sides; with `findings`, delete the differences found so far too."""
    CheckRow.objects.filter(check_run=check).delete()
    if findings:
        Difference.objects.filter(check_run=check).delete()


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
