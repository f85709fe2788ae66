"""A clock that can be moved: Postgres's and the fakes' together, so that waits of a day take no time.

Functions of the same names in front of Postgres's own add what was moved. What is timed within the process, such as
the gap between a read and a delete, passes as ever.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_MOVED = "make_interval(secs => coalesce(nullif(current_setting('kvops.moved', true), ''), '0')::float8)"
_FUNCTIONS = "CREATE SCHEMA moved;" + "".join(
    f"CREATE FUNCTION moved.{name}() RETURNS timestamptz LANGUAGE sql {volatility} AS"
    f" $$ SELECT pg_catalog.{name}() + {_MOVED} $$;"
    for name, volatility in (("statement_timestamp", "STABLE"), ("now", "STABLE"), ("clock_timestamp", "VOLATILE"))
)
_PATH = "moved, public, pg_catalog, pg_temp"
_FIXED = """
SELECT p.oid::regprocedure::text, c.value FROM pg_proc p, LATERAL pg_options_to_table(p.proconfig) AS c(name, value)
 WHERE p.pronamespace = 'public'::regnamespace AND c.name = 'search_path'
"""


class MovableClock:
    """Seconds since 1970, moved forward by `move`."""

    def __init__(self) -> None:
        self._moved = 0.0

    def time(self) -> float:
        """The moved time, as a fake wants it."""
        return time.time() + self._moved

    def move(self, seconds: float) -> None:
        """Move it forward, for Postgres as seen from this connection too."""
        self._moved += max(0.0, seconds)
        move_to(self._moved)


def move_to(seconds: float) -> None:
    """Let it be so many seconds later than it is, for Postgres alone; undone with the open savepoint."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('kvops.moved', %s, false)", [repr(seconds)])


@contextmanager
def clock() -> Iterator[MovableClock]:
    """A movable clock for this process's one connection to the database."""
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS moved CASCADE;" + _FUNCTIONS)
        cursor.execute(f"SET search_path TO {_PATH}")
        # Functions that bring a path of their own, so that nobody can put others in front of what they call.
        cursor.execute(_FIXED)
        fixed = cursor.fetchall()
        for function, _ in fixed:
            cursor.execute(f"ALTER FUNCTION {function} SET search_path = {_PATH}")
    try:
        yield MovableClock()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('kvops.moved', '', false)")
            cursor.execute("RESET search_path")
            for function, path in fixed:
                cursor.execute(f"ALTER FUNCTION {function} SET search_path = {path}")
            cursor.execute("DROP SCHEMA moved CASCADE")
