"""The two sides of a check in Postgres while it runs: digests by key and row, compared as sets, emptied at the end."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from django.db import connection

from backups.datasets.canonical import DIGEST
from backups.datasets.sides import Finding
from backups.datasets.type_rules import Fields
from backups.models import Check, CheckRow, Difference

MAX_STORED = 10_000
"""Differences kept by name; the count has all of them."""

Side = CheckRow.Side
_RULE = "rule "

Staged = tuple[Side, str, str, Fields | None]
"""A side, the name of a key, the id of a row in it, and its fields; None for a row that is no object."""

_FIND = """
WITH backup AS (
    SELECT DISTINCT ON (name, row) name, row, fields, by_rule FROM backups_checkrow
    WHERE check_run_id = %(check)s AND side = 'backup' ORDER BY name, row
), d1 AS (
    SELECT DISTINCT ON (name, row) name, row, fields, by_rule FROM backups_checkrow
    WHERE check_run_id = %(check)s AND side = 'd1' ORDER BY name, row
), pair AS MATERIALIZED (
    SELECT coalesce(backup.name, d1.name) AS name, coalesce(backup.row, d1.row) AS row,
        backup.name IS NULL AS not_in_backup, d1.name IS NULL AS not_in_d1,
        backup.fields AS ours, d1.fields AS theirs, backup.by_rule AS ours_by, d1.by_rule AS theirs_by
    FROM backup FULL JOIN d1 ON backup.name = d1.name AND backup.row = d1.row
    WHERE backup.name IS NULL OR d1.name IS NULL OR (backup.fields <> 'null' AND
        (backup.fields <> d1.fields OR backup.by_rule <> d1.by_rule))
), both_sides AS NOT MATERIALIZED (
    SELECT * FROM pair WHERE NOT not_in_backup AND NOT not_in_d1
), found (name, row, kind, field) AS MATERIALIZED (
    SELECT name, row, 'missing_in_d1', '' FROM pair WHERE not_in_d1
    UNION ALL
    SELECT name, row, 'only_in_d1', '' FROM pair WHERE not_in_backup AND name NOT IN
        (SELECT name FROM backups_checkrow WHERE check_run_id = %(check)s AND side = 'unread')
    UNION ALL
    SELECT name, row, 'field', field FROM both_sides, unnest(%(fields)s::text[]) AS field
    WHERE coalesce(ours ->> field, '') NOT IN
        (left(coalesce(theirs ->> field, ''), %(digest)s), right(coalesce(theirs ->> field, ''), %(digest)s))
    UNION ALL
    SELECT name, row, 'duplicate', '' FROM backups_checkrow
    WHERE check_run_id = %(check)s AND side <> 'unread' GROUP BY side, name, row HAVING count(*) > 1
), kept AS (
    INSERT INTO backups_difference (check_run_id, name, row, kind, field)
    SELECT %(check)s, name, row, kind, left(field, 200) FROM found
    WHERE kind <> ALL(%(allowed)s::text[]) ORDER BY name, row, kind, field LIMIT %(room)s
), by_rule AS (
    SELECT ours ->> field AS ours, coalesce(theirs ->> field, '') AS theirs,
        coalesce(ours_by -> field ->> 0, ours ->> field, '') AS ours_before,
        coalesce(theirs_by -> field ->> 0, left(theirs ->> field, %(digest)s), '') AS theirs_before,
        coalesce(ours_by -> field, '[]') - 0 || coalesce(theirs_by -> field, '[]') - 0 AS rules
    FROM both_sides, jsonb_object_keys(ours_by || theirs_by) AS field
)
SELECT kind, count(*) FROM found GROUP BY kind
UNION ALL
SELECT 'rule ' || rule, count(*)
FROM by_rule, LATERAL (SELECT DISTINCT jsonb_array_elements_text(rules) AS rule) AS one
WHERE coalesce(ours, '') IN (left(theirs, %(digest)s), right(theirs, %(digest)s))
    AND ours_before <> theirs_before
    AND (length(theirs) <= %(digest)s OR ours_before <> right(theirs, %(digest)s))
GROUP BY rule
"""


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """Differences by kind, and by type rule the fields that are equal only by it."""

    kinds: Counter[str]
    rules: Counter[str]


def storable(name: str) -> bool:
    """Whether Postgres can hold the name. A name that it cannot hold is in no scan and no backup either."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def stage(check: Check, rows: Iterable[Staged]) -> None:
    """Add rows with the digests of their fields."""
    columns = "check_run_id, side, name, row, fields, by_rule"
    with connection.cursor() as cursor, cursor.copy(f"COPY backups_checkrow ({columns}) FROM STDIN") as rows_in:
        for side, name, row, fields in rows:
            digests, by_rule = ("null", "{}") if fields is None else _in_json(fields)
            rows_in.write_row((check.pk, side.value, name, row, digests, by_rule))


def _in_json(fields: Fields) -> tuple[str, str]:
    digests = ",".join([f'{_quoted(field)}:"{digest}"' for field, digest in fields.digests.items()])
    return f"{{{digests}}}", json.dumps(fields.by_rule) if fields.by_rule else "{}"


@cache
def _quoted(field: str) -> str:
    return json.dumps(field)


def note_differences(check: Check, findings: Sequence[Finding], *, room: int) -> None:
    """Keep differences that one side shows alone, up to the room left for them."""
    Difference.objects.bulk_create(
        Difference(
            check_run=check,
            name=_shown(found.name),
            row=_shown(found.row),
            kind=found.kind,
            field=_shown(found.field)[:200],
        )
        for found in findings[: max(room, 0)]
    )


def staged(check: Check) -> tuple[int, int]:
    """The number of rows of the backup's side and of D1's; a key with unreadable rows counts as one."""
    rows = CheckRow.objects.filter(check_run=check)
    return rows.exclude(side=Side.D1).count(), rows.filter(side=Side.D1).count()


def find(check: Check, fields: Sequence[str], *, allowed: Sequence[str], room: int) -> CheckCounts:
    """Compare the sides. Kinds in `allowed` are counted and not kept."""
    found = CheckCounts(Counter(), Counter())
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
        for what, number in cursor.fetchall():
            rule = what.removeprefix(_RULE)
            (found.kinds if rule == what else found.rules)[rule] = number
    return found


def clear_sides(check: Check, *, findings: bool = False) -> None:
    """Empty both sides; with `findings`, delete the differences found so far too."""
    CheckRow.objects.filter(check_run=check).delete()
    if findings:
        Difference.objects.filter(check_run=check).delete()


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
