"""A dump of the database as it is, and its restoring: what an administrator does, with Postgres's own means."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection
from psycopg import sql


@contextmanager
def dumped() -> Iterator["DatabaseDump"]:
    """The database as it is now, to be restored later; for tests that commit."""
    dump = DatabaseDump()
    dump.copy(dump.name, dump.kept)
    try:
        yield dump
    finally:
        dump.drop(dump.kept)


class DatabaseDump:
    """A copy of the database at hand, beside it."""

    def __init__(self) -> None:
        self.name = str(connection.settings_dict["NAME"])
        self.kept = f"{self.name}_dump"

    def restore(self) -> None:
        """Put the dump in the place of the database; everybody is disconnected."""
        self.drop(self.name)
        self.copy(self.kept, self.name)

    def copy(self, source: str, target: str) -> None:
        """The one database as it is, under the other name."""
        self._run("DROP DATABASE IF EXISTS {}", target)
        self._run("CREATE DATABASE {} TEMPLATE {}", target, source)

    def drop(self, name: str) -> None:
        """Drop a database."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _run(self, statement: str, *names: str) -> None:
        connection.close()
        facts = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
        url = {name: connection.settings_dict[key] or None for name, key in facts.items()}
        with psycopg.connect(dbname="postgres", autocommit=True, **url) as admin:  # type: ignore[arg-type]
            admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
