"""Indexes that are built while everybody goes on writing: `AddIndexConcurrently`, outside a transaction."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

_THERE = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)"


def drop_unfinished(connection: BaseDatabaseWrapper) -> list[str]:
    """Drop the remains of the indexes that are to be built, and return their names.

    An index whose build was interrupted stays as an invalid one. One that was built, but whose migration was not noted
    any more, is built again.
    """
    loader = MigrationLoader(connection)
    applied = loader.applied_migrations or {}
    pending = [one for node, one in loader.disk_migrations.items() if node not in applied]
    names = [op.index.name for one in pending for op in one.operations if isinstance(op, AddIndexConcurrently)]
    with connection.cursor() as cursor:
        cursor.execute(_THERE, [names])
        found = sorted(name for (name,) in cursor.fetchall())
        for name in found:
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(name)))
    return found
