"""Emptying the database after a test that commits, although the record refuses TRUNCATE.

Only the owner of the tables can do this; the product has no such door.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.transaction import atomic

TRUNCATE_TRIGGERS = """
SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
 WHERE NOT tgisinternal AND tgtype & 32 <> 0
"""
FIRST_HEAD = """
INSERT INTO audit_head (id, seq, hash, at)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), to_timestamp(0))
"""


def _flush(self: BaseDatabaseOperations, sql_list: list[str]) -> None:
    with atomic(using=self.connection.alias), self.connection.cursor() as cursor:
        cursor.execute(TRUNCATE_TRIGGERS)
        triggers = cursor.fetchall()
        for table, name in triggers:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
        for sql in sql_list:
            cursor.execute(sql)
        cursor.execute(FIRST_HEAD)
        for table, name in triggers:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {name}")


@pytest.fixture(scope="session", autouse=True)
def flush_despite_triggers() -> Iterator[None]:
    """Let Django's flush between committing tests empty the append-only tables."""
    with _triggers_aside():
        yield


def empty_the_database() -> None:
    """Empty every table now; for what works outside of pytest."""
    with _triggers_aside():
        call_command("flush", interactive=False, verbosity=0)


@contextmanager
def _triggers_aside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", _flush)
        yield
