"""Reading a table of D1 in the order of its key, in pages as large as D1 and memory allow."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.utils.translation import gettext_lazy as _

from backups.datasets.mapping import Correspondence
from kvops.cloudflare import ApiError, Cell, TooLarge
from kvops.runs.outcomes import RunError
from kvops.wording import say

FIRST_ROWS = 500
MOST_ROWS = 5_000
PAGE_BYTES = 4 * 1024 * 1024
"""Bytes; the size of a page grows up to this. D1 refuses answers of 50 MB, and a page is held in memory."""

FEWEST_ROWS = 2
STATEMENT_FAILED = 7500


class Keyed(Protocol):
    """A row with its key and its approximate size, in the caller's type."""

    @property
    def key(self) -> Sequence[tuple[str, Cell]]:
        """The columns of its key."""

    @property
    def size(self) -> int:
        """The approximate number of characters."""


type Query[R] = Callable[[str, Sequence[str]], list[R]]
"""A function that sends a statement with its parameters."""


class TablePlace(Protocol):
    """The position in a table: the last key as JSON, and the number of rows to ask for."""

    after: str
    limit: int
    most: int


@dataclass(slots=True)
class Beginning:
    """The position before the first row."""

    after: str = ""
    limit: int = 0
    most: int = 0


def next_rows[R: Keyed](rule: Correspondence, place: TablePlace, query: Query[R]) -> tuple[list[R], bool]:
    """The next rows, and whether the table ends with them; `place` moves on. An earlier page may be empty too.

    The next page begins again with the last key of a full page, so no row with an equal key is skipped. Raises RunError
    and CloudflareError.
    """
    most = place.most or MOST_ROWS
    limit = min(place.limit or FIRST_ROWS, most)
    sql, params = rule.d1.page_sql(json.loads(place.after or "[]"), limit)
    try:
        rows = query(sql, params)
    except ApiError as error:
        if limit <= FEWEST_ROWS or not (isinstance(error, TooLarge) or STATEMENT_FAILED in error.codes):
            raise
        # The answer was too large, or took longer than D1's 30 seconds: ask for fewer rows in all further pages.
        place.limit = place.most = max(FEWEST_ROWS, limit // 4)
        return [], False
    if len(rows) < limit:
        return rows, True
    place.after = json.dumps(rows[-1].key)
    whole = [row for row in rows if row.key != rows[-1].key]
    if not whole and limit >= most:
        sentence = _("At least %(limit)s rows of %(table)s have one key: correct the table.")
        raise RunError("one_key", say(sentence, limit=limit, table=rule.table))
    size = sum(row.size for row in rows)
    room = limit * 2 if not whole else max(FEWEST_ROWS, PAGE_BYTES // (size // len(rows) + 1))
    place.limit = min(limit * 2, room, most)
    return whole, False
