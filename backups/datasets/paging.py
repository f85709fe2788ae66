"""Reading a table of D1 in the order of its key, in pages as large as D1 and memory allow."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, Self, cast

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.datasets.mapping import Correspondence
from kvops.cloudflare import ApiError, Cell, RateLimited, TooLarge
from kvops.connections import clients
from kvops.connections.budget import Prepaid, SharedBudget
from kvops.models import Environment
from kvops.refusals import Sentence
from kvops.runs.outcomes import RunError
from kvops.wording import say

FIRST_ROWS = 500
MOST_ROWS = 5_000
PAGE_BYTES = 4 * 1024 * 1024
"""Bytes; the size of a page grows up to this. D1 refuses answers of 50 MB, and a page is held in memory."""

FEWEST_ROWS = 2
PAID = 12
"""Requests paid at once; those that were not sent are given back."""
ATTEMPTS = 4
"""Requests for a page at most, repetitions included."""
PAID_FOR = 60.0
"""Seconds for which paid requests are relied on, well within `budget.GOOD_FOR`."""
STATEMENT_FAILED = 7500


type Row = Mapping[str, Cell]
"""A result row of the statements of a table."""

type Query = Callable[[str, Sequence[str]], Sequence[Row]]
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


def next_rows(rule: Correspondence, place: TablePlace, query: Query) -> tuple[Sequence[Row], bool]:
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
    last = rule.d1.key_of(rows[-1])
    place.after = json.dumps(last)
    # Nearly all rows differ in the last column of the key, so the whole key is compared rarely.
    name = f"c{len(last) - 1}"
    whole = [row for row in rows if row[name] != rows[-1][name] or rule.d1.key_of(row) != last]
    if not whole and limit >= most:
        sentence = _("At least %(limit)s rows of %(table)s have one key: correct the table.")
        raise RunError("one_key", say(sentence, limit=limit, table=rule.table))
    size = _size(rows)
    room = limit * 2 if not whole else max(FEWEST_ROWS, PAGE_BYTES // (size // len(rows) + 1))
    place.limit = min(limit * 2, room, most)
    return whole, False


def _size(rows: Sequence[Row]) -> int:
    """The characters of all cells."""
    try:
        return len("".join(cast("Iterable[str]", chain.from_iterable([row.values() for row in rows]))))
    except TypeError:  # not only texts
        return sum(map(len, map(str, chain.from_iterable([row.values() for row in rows]))))


class TableReader:
    """The pages of a table of D1, each asked for in a thread while its caller works on the page before.

    Its caller's thread pays for the requests before they are sent. As a context manager it leaves nothing behind.
    """

    def __init__(self, environment: Environment, database_id: str, rule: Correspondence, after: TablePlace) -> None:
        """`after` is not changed. Raises ConfigurationError."""
        self.place = Beginning(after.after, after.limit, after.most)
        self._rows_read = 0
        self._counted = (0, 0)
        self._rule, self._database_id = rule, database_id
        self._budget = Prepaid(SharedBudget.of(environment))
        self._paid_at = 0.0
        self._client = clients.reader(environment, self._budget)
        self._thread = ThreadPoolExecutor(1)
        self.asked_for = 0
        """The rows of the page asked for last, if it is full: its last one begins the page after it."""
        self._asked: Future[tuple[Sequence[Row], bool]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Wait for the page that was asked for, and give unused requests back."""
        try:
            self._thread.shutdown()
            self._client.close()
        finally:
            self._budget.settle()

    @property
    def asked(self) -> bool:
        """Whether a page was asked for and not taken."""
        return self._asked is not None

    def ask(self) -> float:
        """Ask for the next page unless this was done. Return 0.0, or the seconds until it can be paid (not asked)."""
        if self._asked is None:
            if wait := self._pay():
                return wait
            self.asked_for = min(self.place.limit or FIRST_ROWS, self.place.most or MOST_ROWS) - 1
            self._asked = self._thread.submit(next_rows, self._rule, self.place, self._query)
        return 0.0

    def take(self) -> tuple[Sequence[Row], bool]:
        """The next page, as `next_rows` returns it; `place` is behind it. Raises what `next_rows` raises."""
        self._insist(self.ask())
        asked, self._asked = cast("Future[tuple[Sequence[Row], bool]]", self._asked), None
        return asked.result()

    def rows(self, sql: str) -> Sequence[Row]:
        """The rows of another statement, while no page is asked for. Raises CloudflareError."""
        self._insist(self._pay())
        return self._query(sql, ())

    def spent(self) -> tuple[int, int]:
        """The requests sent and the rows scanned since this was asked last."""
        now = self._client.calls, self._rows_read
        before, self._counted = self._counted, now
        return now[0] - before[0], now[1] - before[1]

    def _query(self, sql: str, params: Sequence[str]) -> Sequence[Row]:
        answer = self._client.query(self._database_id, sql, params)
        self._rows_read += answer.rows_read
        return answer.rows

    def _pay(self) -> float:
        now = time.monotonic()
        if self._budget.paid >= ATTEMPTS and now < self._paid_at + PAID_FOR:
            return 0.0
        self._paid_at = now
        return self._budget.reserve(PAID)

    @staticmethod
    def _insist(wait: float) -> None:
        if wait:
            raise RateLimited(Sentence(gettext_noop("The request budget is used up.")), wait)
