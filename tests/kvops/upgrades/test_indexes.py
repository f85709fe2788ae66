"""What an interrupted concurrent build left is dropped, and built again."""

from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'audit_entry_known_actor'::regclass"


def rows(statement: str) -> list[tuple[object, ...]]:
    """What the database answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_an_invalid_index_is_built_again_by_the_next_migrate(transactional_db: None) -> None:
    MigrationRecorder(connection).record_unapplied("audit", "0004_known_actor")
    rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'audit_entry_known_actor'::regclass")
    call_command("migrate", verbosity=0)
    assert rows(VALID) == [(True,)]
    assert ("audit", "0004_known_actor") in MigrationRecorder(connection).applied_migrations()
