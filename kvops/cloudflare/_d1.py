"""Reading D1."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from kvops.cloudflare import _json
from kvops.cloudflare._errors import StatementRefused
from kvops.cloudflare._http import ID, ApiClient, Route, checked_id
from kvops.refusals import Sentence as _

DATABASES = "/d1/database"

D1_ROUTES = (
    Route("databases", "GET", DATABASES, repeatable=True),
    Route("query", "POST", f"{DATABASES}/{ID}/query", repeatable=True),
)

type Cell = str | int | float | list[int] | None  # a BLOB comes as a list of its bytes

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]""")
_WRITES = re.compile(
    r";|--|/\*|\breplace\s+into\b"
    r"|\b(insert|update|delete|drop|alter|create|attach|detach|pragma|vacuum|reindex|analyze)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A D1 database by its id and name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class D1Rows:
    """The rows of one statement, and the number of rows that D1 scanned for them (D1 bills those)."""

    rows: list[dict[str, Cell]]
    rows_read: int


class D1Reads(ApiClient):
    """The calls about D1. Integers above 2^53 lose digits in D1's own JSON: cast them to TEXT."""

    def databases(self) -> list[DatabaseInfo]:
        """All D1 databases of the account."""
        return self._all_pages(DATABASES, _read_database)

    def query(self, database_id: str, sql: str, params: Sequence[str] = ()) -> D1Rows:
        """Run one read-only statement; raises StatementRefused for any other.

        The token should have only the permission D1 Read; this check is the second lock.
        """
        return self._transport.json(
            "POST",
            f"{DATABASES}/{checked_id(database_id)}/query",
            body=json.dumps({"sql": _read_only(sql), "params": list(params)}).encode(),
            read=_read_rows,
            last_wins=True,  # the columns of our statements have names of their own
        )


def _read_only(sql: str) -> str:
    bare = _QUOTED.sub("''", sql).strip()
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE) or _WRITES.search(bare):
        raise StatementRefused(_("Only one SELECT (or WITH … SELECT), without comments or ';', is sent to D1."))
    return sql


def _read_database(item: _json.Object) -> DatabaseInfo:
    return DatabaseInfo(_json.as_text(item.get("uuid")), _json.as_text(item.get("name")))


def _read_rows(envelope: _json.Object) -> D1Rows:
    results = _json.as_list(envelope.get("result"))
    if len(results) != 1:
        raise _json.Malformed(_("one result was expected"))
    result = _json.as_object(results[0])
    if result.get("success") is not True:
        raise _json.Malformed(_("the statement did not succeed"))
    rows = [_json.as_object(row) for row in _json.as_list(result.get("results"))]
    meta = _json.as_object(result.get("meta"))
    return D1Rows(
        [_cells(row) for row in rows],
        0 if meta.get("rows_read") is None else _json.as_int(meta.get("rows_read")),
    )


def _cells(row: _json.Object) -> dict[str, Cell]:
    if set(map(type, row.values())) == {str}:  # as most are
        return cast("dict[str, Cell]", row)
    return {name: value if type(value) is str else _cell(value) for name, value in row.items()}


def _cell(value: _json.Value) -> Cell:
    match value:
        case None | str():
            return value
        case _json.SpelledNumber(lexeme) if lexeme.lstrip("-").isdigit():
            return int(lexeme)
        case _json.SpelledNumber(lexeme):
            return float(lexeme)
        case list():
            return [_json.as_int(byte) for byte in value]
        case _:
            raise _json.Malformed(_("a cell is neither text, number, null nor bytes"))
