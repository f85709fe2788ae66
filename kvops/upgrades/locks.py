"""The transaction that a migration waits for, by name, so that a person can end it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import LockNotAvailable

from kvops.outages import AWAY
from kvops.refusals import Refused

LOOK = 0.2
"""Seconds between two looks at what the migration waits for."""
_BLOCKING = """
SELECT pid, usename, application_name, xact_start, left(regexp_replace(query, '\\s+', ' ', 'g'), 100)
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%s)) ORDER BY xact_start, pid LIMIT 1
"""
type Blocking = tuple[int, str | None, str | None, datetime | None, str | None]


class Blocked(Refused):
    """A lock was not given in time; the message names the transaction that holds it."""


@contextmanager
def naming_the_holder(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Name the holder of a lock that a statement of this connection does not get in time. Raises Blocked.

    The server knows the holder only while the statement waits. So a second connection looks meanwhile.
    """
    connection.ensure_connection()
    watch = _Watch(connection)
    watch.start()
    try:
        yield
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        watch.stop()
        raise Blocked(_sentence(watch.found)) from error
    finally:
        watch.stop()


class _Watch(threading.Thread):
    """Remembers the last transaction that the connection waited for."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(name="watch of locks", daemon=True)
        self._pid = connection.connection.info.backend_pid
        self._of = connection
        self._over = threading.Event()
        self.found: Blocking | None = None

    def run(self) -> None:
        own = self._of.copy()  # a connection belongs to the thread that made it
        try:
            # Whatever is wrong with the second connection, the migration goes on.
            with suppress(*AWAY), own.cursor() as cursor:
                while not self._over.wait(LOOK):
                    cursor.execute(_BLOCKING, [self._pid])
                    self.found = cursor.fetchone() or self.found
        finally:
            own.close()

    def stop(self) -> None:
        self._over.set()
        self.join()


def _sentence(found: Blocking | None) -> str:
    return (
        f"migrate did not get a lock in time, because {_holder(found)} holds it. Finished migrations stay, and the one"
        " that waited begins anew. Let that transaction end, or end it, and run it again."
    )


def _holder(found: Blocking | None) -> str:
    if found is None:
        return "another transaction"
    pid, role, application, since, query = found
    name = f"the transaction of process {pid} ({role or 'no role'}, {application or 'no application name'})"
    if since is None:
        return f"{name}, whose time and query only a member of pg_read_all_stats sees,"
    return f"{name}, open since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC with the query {(query or '')!r},"
