"""The two sides of a check in Postgres while it runs: digests by key and row, compared as sets, emptied at the end."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from django.db import connection
from django.db.models import Count, Q

from backups.datasets.canonical import DIGEST
from backups.datasets.fields import FieldReadings, Fields, Forms, pack
from backups.datasets.mapping import Correspondence
from backups.datasets.sides import MISSING_IN_D1, ONLY_IN_D1, DatasetKey, DatasetRow, Finding
from backups.models import Check, CheckRow, Difference

MAX_STORED = 10_000
"""Differences kept by name; the count has all of them."""

Side = CheckRow.Side
_RULE = "rule "

Staged = tuple[str, str, Forms | Fields | None]
"""The name of a key, the id of a row in it, and its fields; None for a row that is no object."""

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

# Nearly every row is there once on each side with equal fields: as one row of both sides, or as one of each with equal
# digests. Those are set aside by one pass without any join; the other rows, `odd`, are compared field by field. A row
# that is there twice is odd on either side. Of several, the one of both sides is compared, so that nothing differs.
# A difference is newer in D1 if the one row of D1 there has a time stamp later than the move.
_FIND = """
WITH odd AS MATERIALIZED (
    SELECT name, row FROM (
        SELECT name, row, count(*) + count(*) FILTER (WHERE side = 'both') AS rows,
            count(*) FILTER (WHERE side <> 'backup') AS d1
        FROM backups_checkrow WHERE check_run_id = %(check)s AND side <> 'unread'
        GROUP BY name, row, fields, by_rule
    ) AS alike GROUP BY name, row HAVING count(*) > 1 OR bool_or(rows <> 2 OR d1 <> 1)
), staged AS MATERIALIZED (
    SELECT sides.side, sides.kept, name, row, fields, by_rule, newer_at
    FROM odd JOIN backups_checkrow AS stored USING (name, row)
    JOIN (VALUES ('backup', 'backup'), ('d1', 'd1'), ('both', 'backup'), ('both', 'd1')) AS sides (kept, side)
        ON stored.side = kept
    WHERE check_run_id = %(check)s
), backup AS (
    SELECT DISTINCT ON (name, row) * FROM staged WHERE side = 'backup' ORDER BY name, row, kept <> 'both'
), d1 AS (
    SELECT DISTINCT ON (name, row) * FROM staged WHERE side = 'd1' ORDER BY name, row, kept <> 'both'
), both_sides AS NOT MATERIALIZED (
    SELECT name, row, field, substr(backup.fields, at, %(size)s) AS ours, substr(d1.fields, at, %(size)s) AS theirs,
        substr(d1.fields, at + %(packed)s, %(size)s) AS other,
        backup.by_rule -> field AS ours_by, d1.by_rule -> field AS theirs_by
    FROM backup JOIN d1 USING (name, row) CROSS JOIN (
        SELECT field, (place::int - 1) * %(size)s + 1 AS at
        FROM unnest(%(fields)s::text[]) WITH ORDINALITY AS listed (field, place)
    ) AS packed
    WHERE backup.fields IS NOT NULL
), found (name, row, kind, field) AS MATERIALIZED (
    SELECT name, row, 'missing_in_d1', '' FROM backup WHERE NOT EXISTS
        (SELECT FROM d1 WHERE d1.name = backup.name AND d1.row = backup.row)
        AND (name <> ALL(%(orphans)s::text[]) OR name IN
            (SELECT name FROM backups_checkrow WHERE check_run_id = %(check)s AND side IN ('d1', 'both')))
    UNION ALL
    SELECT name, row, 'only_in_d1', '' FROM d1 WHERE NOT EXISTS
        (SELECT FROM backup WHERE d1.name = backup.name AND d1.row = backup.row) AND name NOT IN
        (SELECT name FROM backups_checkrow WHERE check_run_id = %(check)s AND side = 'unread')
    UNION ALL
    SELECT name, row, 'field', field FROM both_sides WHERE ours NOT IN (theirs, other)
    UNION ALL
    SELECT name, row, 'duplicate', '' FROM staged GROUP BY side, name, row HAVING count(*) > 1
), stamps AS MATERIALIZED (
    SELECT name, row, min(newer_at) AS newer_at FROM staged WHERE side = 'd1'
    GROUP BY name, row HAVING count(*) = 1 AND count(newer_at) = 1
), judged AS MATERIALIZED (
    SELECT found.*, CASE WHEN kind IN ('field', 'only_in_d1') THEN newer_at END AS newer_at
    FROM found LEFT JOIN stamps USING (name, row)
), kept AS (
    INSERT INTO backups_difference (check_run_id, name, row, kind, field, newer_at)
    SELECT %(check)s, name, row, kind, left(field, 200), newer_at FROM judged
    WHERE kind <> ALL(%(allowed)s::text[]) ORDER BY name, row, kind, field LIMIT %(room)s
), by_rule AS (
    SELECT theirs, other, coalesce(ours_by, '[]') - 0 || coalesce(theirs_by, '[]') - 0 AS rules,
        coalesce(decode(ours_by ->> 0, 'hex'), ours) AS ours_before,
        coalesce(decode(theirs_by ->> 0, 'hex'), theirs) AS theirs_before
    FROM both_sides WHERE ours IN (theirs, other) AND (ours_by IS NOT NULL OR theirs_by IS NOT NULL)
)
SELECT kind, count(*) FROM found GROUP BY kind
UNION ALL
SELECT 'newer', count(*) FROM judged WHERE newer_at IS NOT NULL AND kind <> ALL(%(allowed)s::text[])
UNION ALL
SELECT 'rule ' || rule, count(*)
FROM by_rule, LATERAL (SELECT DISTINCT jsonb_array_elements_text(rules) AS rule) AS one
WHERE ours_before NOT IN (theirs_before, other)
GROUP BY rule
"""


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """Differences by kind, and by type rule the fields that are equal only by it.

    `newer` counts the differences whose row is newer in D1.
    """

    kinds: Counter[str]
    rules: Counter[str]
    newer: int = 0


def storable(name: str) -> bool:
    """Whether Postgres can hold the name. A name that it cannot hold is in no scan and no backup either."""
    if name.isprintable():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


@dataclass(slots=True)
class Unstaged:
    """What was read of both sides since the last checkpoint, with the differences that one side shows alone."""

    backup: list[Staged] = field(default_factory=list)
    unreadable: list[Staged] = field(default_factory=list)
    d1: list[Staged] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    newer: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """By place: the time stamp of a row of D1 that was changed after the move."""

    def add_keys(self, batch: Iterable[DatasetKey]) -> int:
        """Add keys of the backup, and return the number of their rows."""
        number = 0
        for name, rows, findings in batch:
            self.findings += findings
            if name is None:
                continue
            if rows is None and storable(name):
                self.unreadable.append((name, "", None))
            for row, fields in rows or ():
                number += 1
                if storable(name) and storable(row):
                    self.backup.append((name, row, fields))
                else:
                    self.findings.append(Finding(name, MISSING_IN_D1, row=row))
        return number

    def add_rows(self, rows: Iterable[DatasetRow], *, allowed: bool) -> int:
        """Add rows of D1, and return the number of those that no key can hold: they differ unless they are allowed."""
        nameless = 0
        for name, head, row, wrong, fields in rows:
            if name is not None and row is not None and storable(name) and storable(row):
                self.d1.append((name, row, fields))
                continue
            nameless += 1
            if not allowed:
                self.findings.append(Finding(head, ONLY_IN_D1, wrong, row or ""))
        return nameless

    def set_pairs_aside(self) -> list[Staged]:
        """Take away each row that both sides have with equal fields, and return those rows.

        A row that one side has twice stays on both.
        """
        ours, theirs = set(self.backup), set(self.d1)
        both = ours & theirs
        if len(both) == len(self.backup) == len(self.d1):
            pairs, self.backup, self.d1 = self.backup, [], []
            return pairs
        if len(ours) < len(self.backup) or len(theirs) < len(self.d1):
            seen = Counter(self.backup) + Counter(self.d1)
            both = {row for row in both if seen[row] == 2}
        pairs = [row for row in self.backup if row in both]
        self.backup = [row for row in self.backup if row not in both]
        self.d1 = [row for row in self.d1 if row not in both]
        return pairs


def stage(check: Check, rows: Unstaged, readings: Mapping[str, FieldReadings]) -> None:
    """Add rows of both sides: a row that both have with equal fields by its name alone, others with digests."""
    pairs = rows.set_pairs_aside()
    lines = [
        *_lines(check, Side.BOTH, ((name, row, None) for name, row, _fields in pairs)),
        *_lines(check, Side.BACKUP, _packed(readings, rows.backup, column=False)),
        *_lines(check, Side.UNREADABLE, ((name, row, None) for name, row, _fields in rows.unreadable)),
        *_lines(check, Side.D1, _packed(readings, rows.d1, column=True), rows.newer),
    ]
    columns = "name, row, fields, by_rule, newer_at, check_run_id, side"
    if lines:
        with connection.cursor() as cursor, cursor.copy(f"COPY backups_checkrow ({columns}) FROM STDIN") as rows_in:
            rows_in.write("".join(lines))


def _packed(
    readings: Mapping[str, FieldReadings], rows: Iterable[Staged], *, column: bool
) -> Iterator[tuple[str, str, Fields | None]]:
    for name, row, fields in rows:
        yield name, row, None if fields is None else pack(readings, fields, column=column)


def _lines(
    check: Check,
    side: Side,
    rows: Iterable[tuple[str, str, Fields | None]],
    newer: Mapping[tuple[str, str], datetime] = MappingProxyType({}),
) -> Iterator[str]:
    """The rows in the text format of COPY."""
    end = f"\t{check.pk}\t{side.value}\n"
    for name, row, fields in rows:
        if fields is None:
            yield f"{_text(name)}\t{_text(row)}\t\\N\t\\N\t\\N{end}"
        else:
            rules = _text(json.dumps(fields.by_rule)) if fields.by_rule else "\\N"
            at = newer.get((name, row))
            stamp = at.isoformat() if at else "\\N"
            yield f"{_text(name)}\t{_text(row)}\t\\\\x{fields.packed.hex()}\t{rules}\t{stamp}{end}"


def _text(text: str) -> str:
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


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
    of_d1, of_backup = Q(side__in=[Side.D1, Side.BOTH]), ~Q(side=Side.D1)
    found = CheckRow.objects.filter(check_run=check).aggregate(d1=Count("pk", of_d1), backup=Count("pk", of_backup))
    return found["backup"], found["d1"]


def find(check: Check, rule: Correspondence, *, allowed: Sequence[str], room: int) -> CheckCounts:
    """Compare the sides by a rule. Kinds in `allowed` are counted and not kept."""
    fields = rule.readings
    kinds, rules = Counter[str](), Counter[str]()
    with connection.cursor() as cursor:
        # Postgres has no statistics of rows that were just staged, and would join them by nested loops. It takes a plan
        # without them for expensive and would compile it.
        cursor.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
        cursor.execute(
            _FIND,
            {
                "check": check.pk,
                "fields": list(fields),
                "size": DIGEST,
                "packed": DIGEST * len(fields),
                "allowed": list(allowed),
                "orphans": list(rule.orphans),
                "room": max(room, 0),
            },
        )
        for what, number in cursor.fetchall():
            name = what.removeprefix(_RULE)
            (kinds if name == what else rules)[name] = number
        cursor.execute("SET LOCAL enable_nestloop TO DEFAULT; SET LOCAL jit TO DEFAULT")
    return CheckCounts(kinds, rules, kinds.pop("newer", 0))


def clear_sides(check: Check, *, findings: bool = False) -> None:
    """Empty both sides; with `findings`, delete the differences found so far too."""
    CheckRow.objects.filter(check_run=check).delete()
    if findings:
        Difference.objects.filter(check_run=check).delete()


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
