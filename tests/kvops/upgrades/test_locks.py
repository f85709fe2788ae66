"""A migration that does not get a lock names the transaction that holds it."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import OperationalError, connection

from kvops.upgrades import locks
from tests.clusters import database_url


def run(statement: str) -> None:
    """Do this as the migration would."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_holder_of_a_lock_is_named(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_args: Any, **_options: Any) -> None:
        run("SET lock_timeout = '2s'; LOCK TABLE kvops_run")

    monkeypatch.setattr(migrate.Command, "handle", wait)
    with psycopg.connect(database_url(), application_name="kvops worker") as other:
        other.execute("SELECT count(*)\n FROM kvops_run")
        with pytest.raises(CommandError) as refused:
            call_command("migrate", verbosity=0)
        pid, user = other.info.backend_pid, other.info.user
    connection.close()
    said = str(refused.value)
    assert f"the transaction of process {pid} ({user}, kvops worker), open since {datetime.now(UTC):%Y-%m-}" in said
    assert "with the query 'SELECT count(*) FROM kvops_run', holds it" in said
    assert said.endswith("run it again.")


def test_another_failure_stays_as_it_is(db: None) -> None:
    with pytest.raises(OperationalError, match="statement timeout"), locks.naming_the_holder(connection):
        run("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(10)")


def test_what_the_owner_may_not_see_is_said() -> None:
    holder = locks._holder((7, "kvops_app", "kvops web", None, "<insufficient privilege>"))
    assert holder.startswith("the transaction of process 7 (kvops_app, kvops web), whose time and query only a member")
    assert locks._holder(None) == "another transaction"
