"""States of the database that many tests begin with: built once by the product, then put back as rows.

A fixture uses it in one way: `prepared.step("asked", lambda: gate.asked(world))`. The first test that comes by builds,
and keeps in memory which rows are new, changed or gone; the next test gets the same rows and an equal result. `build`
runs as it stands whenever a kept state might differ from what it would make now:

- the state is older than LASTS;
- a duration of `kvops.timing` is another one;
- the test wrote something between two steps, or before the first one;
- the test commits.
"""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import connection
from psycopg import sql

from kvops import timing

LASTS = 60.0
"""Seconds. A slow machine takes as long from the set-up of a test to its end."""
READS = ("SELECT ", "SAVEPOINT ", "RELEASE SAVEPOINT ", "SET ")
"""The beginnings of statements that change no row."""
MIGRATED = {"django_content_type", "auth_permission", "django_migrations"}
"""Tables that migrations fill, and that nothing of the product changes."""
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"
ROWS = sql.SQL("SELECT {}, ARRAY(SELECT (it.*)::text FROM {} it)")
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
GONE = sql.SQL("DELETE FROM {table} it WHERE (it.*)::text = ANY(ARRAY[{rows}])")
NEW = sql.SQL("INSERT INTO {table} SELECT * FROM unnest(ARRAY[{rows}]::{table}[])")
ADVANCED = sql.SQL("SELECT setval({name}, {value}) FROM {sequence} WHERE last_value < {value}")

type Rows = dict[str, frozenset[str]]
"""The rows of each table, as the text that Postgres writes and reads again without a loss."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is in the database after a step, and how to get there from the step before."""

    rows: Rows
    sequences: dict[str, int]
    script: str = ""
    result: bytes = b""
    built: float = 0.0
    then: dict[object, "_State"] = field(default_factory=dict)


class Prepared:
    """The steps of one test, from a database without rows."""

    used = True
    """False where the product is broken on purpose: there each test must run the product itself."""
    _process = 0
    _root: _State

    def __init__(self) -> None:
        self._written = False
        self._at = self._begin() if self.used and connection.in_atomic_block else None

    def step[T](self, name: str, build: Callable[[], T]) -> T:
        """The result of `build`, and the rows it leaves."""
        if self._at is None or self._written:
            return build()
        key = (name, *_durations())
        known = self._at.then.get(key)
        if known is None or time.monotonic() - known.built > LASTS:
            known = self._at.then[key] = _built(self._at, build)
        else:
            _execute(known.script)
        self._at, self._written = known, False
        found: T = pickle.loads(known.result)
        return found

    @classmethod
    def _begin(cls) -> _State | None:
        """The state without rows, if nothing was written yet. It is of this process, whose ids it has."""
        if _execute("SELECT pg_current_xact_id_if_assigned()")[0][0] is not None:
            return None
        if cls._process != os.getpid():
            cls._process, cls._root = os.getpid(), _State(all_rows(), _sequences())
        return cls._root

    def see(self, execute: Callable[..., Any], statement: Any, params: Any, many: bool, context: Any) -> Any:
        """Note that the test wrote something; a wrapper of `connection.execute_wrapper`."""
        if not self._written:
            text = statement if isinstance(statement, str) else statement.as_string()
            self._written = not text.startswith(READS)
        return execute(statement, params, many, context)


@contextmanager
def preparing() -> Iterator[Prepared]:
    """The steps of a test, from here to its end."""
    prepared = Prepared()
    with connection.execute_wrapper(prepared.see):
        yield prepared


def all_rows() -> Rows:
    """Every row that the product wrote, by table."""
    query = sql.SQL(" UNION ALL ").join(ROWS.format(sql.Literal(name), sql.Identifier(name)) for name in _tables())
    return {table: frozenset(rows) for table, rows in _execute(query) if rows}


def _built(before: _State, build: Callable[[], object]) -> _State:
    began, result = time.monotonic(), pickle.dumps(build())
    rows, sequences = all_rows(), _sequences()
    script: list[sql.Composable] = [sql.SQL("SET LOCAL session_replication_role = replica")]
    for table in rows | before.rows:
        is_, was = rows.get(table, frozenset()), before.rows.get(table, frozenset())
        for statement, found in ((GONE, was - is_), (NEW, is_ - was)):
            if found:
                literals = sql.SQL(", ").join(map(sql.Literal, sorted(found)))
                script.append(statement.format(table=sql.Identifier(table), rows=literals))
    for name, value in sequences.items() - before.sequences.items():
        quoted = sql.Identifier(name)
        script.append(ADVANCED.format(name=sql.Literal(quoted.as_string()), sequence=quoted, value=sql.Literal(value)))
    script.append(sql.SQL("SET LOCAL session_replication_role = origin"))
    return _State(rows, sequences, sql.SQL("; ").join(script).as_string(), result, began)


@cache
def _tables() -> list[str]:
    return [name for (name,) in _execute(TABLES) if name not in MIGRATED]


def _sequences() -> dict[str, int]:
    return dict(_execute(SEQUENCES))


def _durations() -> tuple[float, ...]:
    return tuple(value for value in vars(timing).values() if isinstance(value, int | float))


def _execute(statement: str | sql.Composed) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
