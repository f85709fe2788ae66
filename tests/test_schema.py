"""The two migrations of each app make the schema that the fifty-six before them made.

`schema_before.txt` is the schema of the fifty-six, as `tests.schema` describes it, with the grants of `setup_roles`.
Migrations after 0002 are not looked at.
"""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.transaction import atomic
from pytest_django.plugin import DjangoDbBlocker

from kvops import database_roles
from tests import schema

HERE = Path(__file__).parent
TARGETS = [(app, "0002_triggers") for app in ("audit", "kvops", "backups")]
NAME = f"kvops_schema_{os.getpid()}"
ROLES = {f"{NAME}_app": "application", f"{NAME}_verifier": "verifier"}
BEFORE = (HERE / "schema_before.txt").read_text()

type Differences = Callable[[], list[str]]


@pytest.fixture(scope="module")
def differences(django_db_blocker: DjangoDbBlocker) -> Iterator[Differences]:
    """What differs between the fifty-six migrations and a database of our own that has only the two of each app."""
    with django_db_blocker.unblock():
        connection.close()
        name = connection.settings_dict["NAME"]
        _outside(f"CREATE DATABASE {NAME}")
        connection.settings_dict["NAME"] = NAME
        try:
            MigrationExecutor(connection).migrate(TARGETS)
            database_roles.setup(*(database_roles.Login(role, "") for role in ROLES))
            yield _differences
            _run("".join(f"DROP OWNED BY {role};" for role in ROLES))
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name
            _outside(f"DROP DATABASE {NAME} WITH (FORCE)")
            for role in ROLES:
                _outside(f"DROP ROLE IF EXISTS {role}")


def _differences() -> list[str]:
    with connection.cursor() as cursor:
        return list(schema.differences(schema.canonical(BEFORE), schema.schema(cursor, ROLES)))


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _outside(statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def test_the_two_migrations_make_the_schema_of_the_fifty_six(differences: Differences) -> None:
    assert not (found := differences()), "\n".join(found)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE kvops_more (id bigint)",
        "ALTER TABLE kvops_run ADD COLUMN more text",
        "ALTER TABLE kvops_run ALTER COLUMN subject DROP NOT NULL",
        "ALTER TABLE kvops_run ALTER COLUMN subject TYPE text",
        "ALTER TABLE kvops_run ALTER COLUMN id DROP IDENTITY",
        "ALTER TABLE kvops_policyversion ALTER COLUMN applied_at DROP DEFAULT",
        'ALTER TABLE kvops_key ALTER COLUMN name TYPE text COLLATE "default"',
        "ALTER TABLE kvops_run DROP CONSTRAINT run_destructive_is_approved",
        "ALTER TABLE kvops_run ALTER CONSTRAINT run_with_the_digest_approved DEFERRABLE",
        "ALTER TABLE kvops_budget DROP CONSTRAINT kvops_budget_name_key",
        "DROP INDEX audit_entry_at",
        "DROP TRIGGER run_guard ON kvops_run",
        "ALTER TABLE audit_entry DISABLE TRIGGER audit_entry_append_only",
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER FUNCTION audit_entry_continues_head() SECURITY INVOKER",
        "ALTER FUNCTION kvops_analyze_stage() RESET search_path",
        "ALTER TABLE kvops_stagedkey SET LOGGED",
        "ALTER TABLE kvops_run SET (fillfactor = 40)",
        "GRANT DELETE ON audit_entry TO the_application",
        "GRANT UPDATE (seq) ON audit_head TO the_application",
    ],
)
def test_a_difference_is_seen(differences: Differences, statement: str) -> None:
    with atomic():
        _run(statement.replace("the_application", f"{NAME}_app"))
        assert differences()
        connection.set_rollback(True)


@pytest.mark.parametrize("app", ["audit", "backups", "kvops"])
def test_an_initial_migration_carries_the_stamp_of_this_schema(app: str) -> None:
    carried = import_module(f"{app}.migrations.0001_tables").Migration.stamp
    assert carried == schema.stamp(schema.canonical(BEFORE), app)
    other = BEFORE.replace(f"table {app}_", f"table {app}_more_")
    assert carried != schema.stamp(schema.canonical(other), app)


def test_order_and_layout_say_nothing_and_everything_else_does() -> None:
    one = "table a\n  column b text\n  constraint c CHECK (((x = 'p AND (q') AND ((y = 1) OR (z = 2))))\n"
    same = "table a\n  constraint c CHECK ((((z = 2) OR (y = 1)) AND (x = 'p AND (q')))\n  column b text\n"
    other = one.replace(" AND ((y", " OR ((y")
    assert schema.canonical(one) == schema.canonical(same) != schema.canonical(other)
    assert schema.differences(schema.canonical(one), schema.canonical(other)) != []
