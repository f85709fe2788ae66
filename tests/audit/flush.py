"""Emptying the database after a test that commits, although the record and others refuse it.

Only the owner of the server can do this; the product has no such door. Only what holds rows is emptied: to truncate
every table takes half a second. What the signal after a migration fills is left as it is, and the signal not sent: to
fill it again takes longer than to empty all the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.commands import flush
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.transaction import atomic
from psycopg import sql

FIRST_HEAD = """
INSERT INTO audit_head (id, seq, hash, at)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), to_timestamp(0))
"""
MIGRATED = {"django_content_type", "auth_permission"}
"""Tables that are filled after a migration, and that nothing of the product reads or changes."""
RESTARTED = """
SELECT setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences
WHERE sequencename NOT IN ('django_migrations_id_seq', 'django_content_type_id_seq', 'auth_permission_id_seq')
"""
"""The numbers begin anew, but for those of tables that keep their rows."""
HOLDS = sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})")


def _flush(self: BaseDatabaseOperations, sql_list: list[str]) -> None:
    tables = set(self.connection.introspection.django_table_names(only_existing=True, include_views=False)) - MIGRATED
    holding = sql.SQL(" UNION ALL ").join(HOLDS.format(sql.Literal(name), sql.Identifier(name)) for name in tables)
    with atomic(using=self.connection.alias), self.connection.cursor() as cursor:
        # Neither triggers nor foreign keys.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(holding)
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
        if any("RESTART IDENTITY" in statement for statement in sql_list):
            cursor.execute(RESTARTED)
        cursor.execute(FIRST_HEAD)


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
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_: None)
        yield
