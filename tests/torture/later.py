"""Moves the database's clock, which is the only clock of the gate, within one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

FUNCTIONS = ("statement_timestamp", "clock_timestamp", "now")
PINNED = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND array_to_string(proconfig, ' ') LIKE '%search_path%'
"""
"""Functions that look for others where they were told to, and would go on reading the true time."""


@contextmanager
def clock() -> Iterator[None]:
    """Until the transaction ends, the functions that tell the time are ours: theirs, and `by` so many hours later."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA later")
        for name in FUNCTIONS:
            cursor.execute(
                f"CREATE FUNCTION later.{name}() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                f" $$ SELECT pg_catalog.{name}() + current_setting('later.by')::interval $$"
            )
        cursor.execute(PINNED)
        for (name,) in cursor.fetchall():
            cursor.execute(f"ALTER FUNCTION {name} RESET search_path")
        cursor.execute("SET LOCAL search_path = later, public, pg_catalog")
    by(0)
    yield


def by(hours: float) -> None:
    """From here on it is so many hours later than it is; undone with the open savepoint."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('later.by', %s, true)", [f"{hours} hours"])
