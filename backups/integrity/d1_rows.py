"""A row as D1 has it and as a key holds it. Rows of D1 are looked up by place in a bounded number of statements."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched, islice

from backups.datasets.canonical import JSON, number
from backups.datasets.fields import differing
from backups.datasets.mapping import Correspondence
from backups.datasets.paging import STATEMENT_FAILED
from backups.datasets.sides import DatasetRow
from kvops.cloudflare import ApiError, Cell, Cloudflare
from kvops.models import Database

MOST_READINGS = 16
"""Readings of one name: a template of several columns may fit a name in more than one way."""
READINGS = 25
"""Readings looked up by one statement. D1 takes 100 parameters and expressions of depth 100."""
MOST_PARAMETERS = 100
MOST_ROWS = 200
SEPARATOR = "\0"
"""A character that no key name has."""

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?")

type Place = tuple[str, str]
"""The name of a key, and the id of a row in it; the id is empty if the key holds one row."""
type Reading = Mapping[str, str]
"""The columns of a key and a row in it, with their texts."""
type Ask = Callable[[str, Sequence[str]], Sequence[Mapping[str, Cell]]]
"""A function that sends a statement with its parameters to D1."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row with its columns, each with the first letter of its type; `changed` is the column asked for beside them."""

    row: DatasetRow
    cells: Mapping[str, tuple[str, Cell]]
    changed: Cell = None


def readings(rule: Correspondence, place: Place) -> list[Reading]:
    """The ways in which the templates give the key and the row, at most MOST_READINGS."""
    pieces = [*rule.key.pieces, (SEPARATOR, None), *rule.row.pieces]
    return list(islice(_readings(pieces, SEPARATOR.join(place), {}), MOST_READINGS))


def rows_at(
    rule: Correspondence, places: Iterable[Place], ask: Ask, *, changed: str = ""
) -> dict[Place, list[FoundRow]]:
    """The rows of D1 by place; a place without a row is left out.

    `changed` is a column that the table may have. Raises CloudflareError.
    """
    found: dict[Place, list[FoundRow]] = defaultdict(list)
    wanted = set(places)
    all_readings = [reading for place in sorted(wanted) for reading in readings(rule, place)]
    size = max(1, min(READINGS, MOST_PARAMETERS // len(rule.d1.key_columns)))
    for some in batched(all_readings, size):
        for each in _rows(rule, some, ask, changed):
            place = (each.row.name or "", each.row.row or "")
            if place in wanted:
                found[place].append(each)
    return dict(found)


def object_at(rule: Correspondence, data: bytes, row: str) -> dict[str, JSON] | None:
    """The object of a row, by its id or its place in the value; without a row, the whole value of a key of many.

    None if the value holds none.
    """
    try:
        if rule.many and not row:
            value = rule.shape.decode(data)
        else:
            value = next((held.value for held in rule.held(data) if row in (held.id, held.place)), None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def rows_of(
    rule: Correspondence, places: Sequence[Place], client: Cloudflare, database: Database, *, changed: str
) -> dict[Place, list[FoundRow]]:
    """The rows that D1 has now at these places. Raises CloudflareError."""

    def ask(sql: str, params: Sequence[str]) -> Sequence[Mapping[str, Cell]]:
        return client.query(database.database_id, sql, params).rows

    return rows_at(rule, places, ask, changed=changed)


def _rows(rule: Correspondence, some: Sequence[Reading], ask: Ask, changed: str) -> list[FoundRow]:
    params: list[str] = []

    def parameter(text: str) -> str:
        params.append(text)
        return "?"

    condition = " OR ".join(f"({reading_condition(reading, parameter)})" for reading in some)
    also = [changed] if changed else []
    try:
        answer = ask(rule.d1.where_sql(condition, MOST_ROWS, also=also), params)
    except ApiError as error:
        if not also or STATEMENT_FAILED not in error.codes:
            raise
        return _rows(rule, some, ask, "")  # the table has no such column
    return [FoundRow(rule.read_row(cells), rule.d1.read_cells(cells), cells.get("x0")) for cells in answer]


def reading_condition(reading: Reading, spell: Callable[[str], str]) -> str:
    """The condition for the rows of one reading; `spell` gives a text in SQL.

    A number in the name may be stored as a number or as text.
    """
    return " AND ".join(
        f't."{column}" IN ({", ".join(filter(None, (spell(text), _figure(text))))})' for column, text in reading.items()
    )


def _figure(text: str) -> str:
    """The number that the text spells, as SQL; empty if it spells none."""
    if _WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return text
    return text if _DECIMAL.fullmatch(text) and number(text) == text else ""


def differing_fields(rule: Correspondence, place: Place, data: bytes, found: FoundRow) -> set[str] | None:
    """The fields of a row in a key that differ from the row of D1, by the rules of the check.

    None if the value has no such row.
    """
    rows = rule.key_from_bytes(place[0], data).rows or ()
    ours = next((one.fields for one in rows if one.row == place[1]), None)
    if ours is None:
        return None
    return differing(rule.readings, ours, found.row.fields)


def _readings(pieces: Sequence[tuple[str, str | None]], text: str, known: dict[str, str]) -> Iterator[Reading]:
    if not pieces:
        if not text:
            yield known
        return
    (literal, column), rest = pieces[0], pieces[1:]
    if not text.startswith(literal):
        return
    text = text[len(literal) :]
    if column is None:
        yield from _readings(rest, text, known)
        return
    for end in _ends(text, rest):
        part = text[:end]
        if known.get(column, part) == part:
            yield from _readings(rest, text[end:], {**known, column: part})


def _ends(text: str, rest: Sequence[tuple[str, str | None]]) -> Iterator[int]:
    """The places where the text of a column may end."""
    if not rest:
        yield len(text)
        return
    following = rest[0][0]
    for at in range(len(text) + 1):
        if text.startswith(following, at):
            yield at
