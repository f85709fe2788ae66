"""What the database refuses to each role by its grants, before any trigger is asked; and that the work can be done."""

import re
from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django_q.models import OrmQ, Task
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from audit.verify import verify
from backups.models import CleanupStage
from kvops import database_roles, queue
from kvops.models import Key
from kvops.supervision import cluster as worker_cluster, heartbeats, sweep
from tests import make
from tests.audit.make import sql, triggers_off, write
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.constraints.kvops_rows import REQUEST_FROZEN
from tests.database_roles import Roles, roles

__all__ = ["roles"]

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
AUDIT_TABLES = sorted(database_roles.AUDIT_TABLES)
PROTECTED = [*AUDIT_TABLES, *sorted(database_roles.FROZEN)]


@pytest.fixture
def application(roles: Roles) -> Iterator[psycopg.Connection]:
    with psycopg.connect(roles.application, autocommit=True) as opened:
        yield opened


@pytest.fixture
def verifier(roles: Roles) -> Iterator[psycopg.Connection]:
    with psycopg.connect(roles.verifier, autocommit=True) as opened:
        yield opened


def refused(opened: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        opened.execute(statement)


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", PROTECTED)
def test_the_application_cannot_empty_what_is_kept_for_ever(
    application: psycopg.Connection, table: str, statement: str
) -> None:
    refused(application, statement.format(table))


@pytest.mark.hazard("B34")
@pytest.mark.parametrize("column", ["seq", "at", "action", "actor", "details", "canonical", "prev_hash", "row_hash"])
def test_the_application_cannot_edit_an_entry(application: psycopg.Connection, column: str) -> None:
    refused(application, f"UPDATE audit_entry SET {column} = {column}")


@pytest.mark.parametrize("statement", ["UPDATE {0} SET at = at", "DELETE FROM {0}", "TRUNCATE {0}"])
@pytest.mark.parametrize("table", ["kvops_runbooknote", "kvops_statedoperation"])
def test_the_application_only_adds_to_the_runbook(application: psycopg.Connection, table: str, statement: str) -> None:
    refused(application, statement.format(table))


@pytest.mark.parametrize("column", ["seq", "hash", "at"])
def test_the_application_cannot_move_the_head(application: psycopg.Connection, column: str) -> None:
    refused(application, f"UPDATE audit_head SET {column} = {column}")


@pytest.mark.hazard("4.2.1", "B25")
@pytest.mark.parametrize("column", [*sorted(REQUEST_FROZEN), "standing_until"])
def test_the_application_cannot_edit_what_a_reviewer_is_shown(application: psycopg.Connection, column: str) -> None:
    refused(application, f"UPDATE kvops_approvalrequest SET {column} = {column}")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("kvops_person", "name"),
        ("kvops_person", "email"),
        ("kvops_user", "person_id"),
        ("kvops_user", "email"),
        ("account_emailaddress", "user_id"),
        ("account_emailaddress", "email"),
    ],
)
def test_the_application_cannot_turn_a_person_into_another(
    application: psycopg.Connection, table: str, column: str
) -> None:
    refused(application, f"UPDATE {table} SET {column} = {column}")


@pytest.mark.parametrize("table", ["kvops_referencesearch", "kvops_referencehit", "kvops_policyversion"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_the_application_cannot_edit_what_it_may_only_add(
    application: psycopg.Connection, table: str, statement: str
) -> None:
    refused(application, statement.format(table))


def test_the_columns_without_grant_are_those_the_trigger_freezes() -> None:
    assert database_roles.FROZEN["kvops_approvalrequest"] == {*REQUEST_FROZEN, "standing_until"}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n int)",
        "CREATE TEMPORARY TABLE audit_head (n int)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TABLE audit_entry",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "ALTER TABLE kvops_approvalrequest DROP CONSTRAINT approval_by_another_person",
        "DROP TRIGGER run_guard ON kvops_run",
        "SET session_replication_role = replica",
        "SELECT setval('kvops_approvalrequest_id_seq', 1)",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('x', 'x', now())",
        "UPDATE django_migrations SET name = 'x'",
        "CREATE ROLE friend LOGIN",
        "COPY audit_entry TO PROGRAM 'cat'",
    ],
)
def test_the_application_cannot_change_the_database_itself(application: psycopg.Connection, statement: str) -> None:
    refused(application, statement)


def test_the_application_truncates_nothing(application: psycopg.Connection) -> None:
    for (table,) in application.execute(TABLES).fetchall():
        refused(application, f'TRUNCATE "{table}" CASCADE')


CHOSEN = """
INSERT INTO audit_entry (seq, at, action, actor, environment, subject, subject_label, digest, details,
                         canonical, prev_hash, row_hash)
OVERRIDING SYSTEM VALUE
SELECT 1000, now(), 'scan.started', 'x', '', '', '', '', '{}', 'x', hash, sha256(hash || 'x') FROM audit_head
"""


def test_the_application_cannot_choose_the_number_of_an_entry(application: psycopg.Connection) -> None:
    write()
    with pytest.raises(RestrictViolation, match="does not continue"):
        application.execute(CHOSEN)


def test_an_entry_whose_number_the_owner_chose_is_found_by_the_verification(roles: Roles) -> None:
    write()
    with triggers_off("audit_entry"):
        sql(CHOSEN)
    assert [problem.problem for problem in verify().problems] == ["the entry lies beyond the head"]


@pytest.mark.parametrize("table", AUDIT_TABLES)
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET seq = 0", "INSERT INTO {} DEFAULT VALUES"]
)
def test_the_verifier_changes_nothing(verifier: psycopg.Connection, table: str, statement: str) -> None:
    refused(verifier, statement.format(table))


def test_the_verifier_reads_the_record_and_what_is_compared_with_it(verifier: psycopg.Connection) -> None:
    for (table,) in verifier.execute(TABLES).fetchall():
        if table in database_roles.AUDIT_TABLES:
            verifier.execute(f'SELECT FROM "{table}"')
        elif columns := database_roles.compared_columns().get(table):
            verifier.execute(f'SELECT {", ".join(columns)} FROM "{table}"')
            refused(verifier, f'SELECT * FROM "{table}"')
        else:
            refused(verifier, f'SELECT FROM "{table}"')


def test_the_verifier_verifies_all_but_the_manifests_which_it_may_not_read(roles: Roles) -> None:
    write()
    out = StringIO()
    with (
        roles.working_as(roles.verifier),
        pytest.raises(CommandError, match="Nothing that was compared differs") as end,
    ):
        call_command("verify_audit", stdout=out)
    assert "Entries: 1" in out.getvalue()
    assert "Not recorded: this role of the database can only read the log." in out.getvalue()
    assert (end.value.returncode, str(end.value).count("may not read it")) == (1, 1)
    assert "heads_of_manifests: this role may not read it" in str(end.value)


def test_the_application_does_all_of_the_work(roles: Roles, estate: make.Estate, people: make.People) -> None:
    with roles.working_as(roles.application):
        cleanup_helpers.estate_with_masters(estate)
        request = cleanup_helpers.asked(people)
        cleanup_helpers.accepted(request, people)
        stage = cleanup_helpers.confirmed(request, people, "production")
        cleanup_helpers.scan(estate.production)
    assert stage.state == CleanupStage.State.CONFIRMED
    assert not Key.objects.under("master:").filter(namespace=estate.production).exists()


def test_the_application_lets_people_choose_a_password_and_sign_in(roles: Roles, client: Client) -> None:
    with roles.working_as(roles.web):
        out = StringIO()
        call_command("setup_people", operator="mika@example.com", reviewer="ken@example.com", stdout=out)
        page = client.get(re.findall(r"http://localhost:8000(\S+)", out.getvalue())[0], follow=True)
        chosen = dict.fromkeys(["password1", "password2"], "a-long-enough-secret")
        client.post(page.redirect_chain[-1][0], chosen)
        client.post("/account/login/", {"login": "mika@example.com", "password": "a-long-enough-secret"})
        assert "_auth_user_id" in client.session


def test_the_application_supervises_and_tidies_up(roles: Roles, people: make.People) -> None:
    with roles.working_as(roles.application):
        worker_cluster.send_canary()
        worker_cluster.send_canary()
        sweep.sweep_once()
        Task.objects.all().delete()
        OrmQ.objects.all().delete()
        assert (queue.length(), heartbeats.age("sweep") is None) == (0, False)


def test_tables_of_later_migrations_are_the_applications_to_use(roles: Roles, application: psycopg.Connection) -> None:
    sql("CREATE TABLE kvops_later (n int)")
    try:
        application.execute("INSERT INTO kvops_later VALUES (1); UPDATE kvops_later SET n = 2; DELETE FROM kvops_later")
        refused(application, "TRUNCATE kvops_later")
    finally:
        sql("DROP TABLE kvops_later")


def test_rights_that_somebody_added_are_taken_back(roles: Roles, application: psycopg.Connection) -> None:
    sql(f"GRANT ALL ON audit_entry TO {application.info.user}")
    call_command("setup_roles")
    refused(application, "DELETE FROM audit_entry")


@pytest.mark.parametrize(
    ("power", "takes_it_back"),
    [("SUPERUSER", "NOSUPERUSER"), ("CREATEROLE", "NOCREATEROLE")],
)
def test_a_mighty_role_is_not_taken_for_the_application(roles: Roles, power: str, takes_it_back: str) -> None:
    role = f"{connection.settings_dict['NAME']}_app"
    sql(f"ALTER ROLE {role} {power}")
    with pytest.raises(CommandError, match="Take another role"):
        call_command("setup_roles")
    sql(f"ALTER ROLE {role} {takes_it_back}")


def test_the_owner_is_not_taken_for_the_application(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = connection.settings_dict["USER"]
    monkeypatch.setenv("KVOPS_APP_DATABASE_URL", f"postgres://{owner}@127.0.0.1/x")
    with pytest.raises(CommandError, match="must differ"):
        call_command("setup_roles")


def test_only_the_owner_gives_rights(roles: Roles) -> None:
    with roles.working_as(roles.application), pytest.raises(CommandError, match="must differ"):
        call_command("setup_roles")
