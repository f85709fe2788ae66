"""Reading a table of D1 in the order of its key, in pages as large as D1 and memory allow."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from backups.datasets.mapping import Correspondence
from kvops.cloudflare import ApiError, Cell, TooLarge
from kvops.runs.outcomes import RunError

FIRST_ROWS = 500
MOST_ROWS = 5_000
PAGE_BYTES = 4 * 1024 * 1024
"""Rows asked for at once grow up to here. D1 refuses answers of 50 MB, and a page is held in memory."""

FEWEST_ROWS = 2
STATEMENT_FAILED = 7500


class Keyed(Protocol):
    """A row as whoever asks wants it: with its key, and about how many characters long it is."""

    @property
    def key(self) -> Sequence[tuple[str, Cell]]:
        """The columns of its key."""

    @property
    def size(self) -> int:
        """Characters, about."""


type Query[R] = Callable[[str, Sequence[str]], list[R]]
"""Sends a statement with its parameters."""


class TablePlace(Protocol):
    """How far a table was read: the last key as JSON, and how many rows may be asked for."""

    after: str
    limit: int
    most: int


@dataclass(slots=True)
class Beginning:
    """The place in front of the first row."""

    after: str = ""
    limit: int = 0
    most: int = 0


def next_rows[R: Keyed](rule: Correspondence, place: TablePlace, query: Query[R]) -> tuple[list[R], bool]:
    """The next rows, and whether they were the last; `place` moves on. None at all may come before the last.

    A full page leaves its last key for the next one, so no row of equal key is passed over. Raises RunError and
    CloudflareError.
    """
    most = place.most or MOST_ROWS
    limit = min(place.limit or FIRST_ROWS, most)
    sql, params = rule.page_sql(json.loads(place.after or "[]"), limit)
    try:
        rows = query(sql, params)
    except ApiError as error:
        if limit <= FEWEST_ROWS or not (isinstance(error, TooLarge) or STATEMENT_FAILED in error.codes):
            raise
        # Too much for one answer, or for D1's 30 seconds: ask for less, from here on.
        place.limit = place.most = max(FEWEST_ROWS, limit // 4)
        return [], False
    if len(rows) < limit:
        return rows, True
    place.after = json.dumps(rows[-1].key)
    whole = [row for row in rows if row.key != rows[-1].key]
    if not whole and limit >= most:
        raise RunError("one_key", f"At least {limit} rows of {rule.table} have one key: correct the table.")
    size = sum(row.size for row in rows)
    room = limit * 2 if not whole else max(FEWEST_ROWS, PAGE_BYTES // (size // len(rows) + 1))
    place.limit = min(limit * 2, room, most)
    return whole, False
