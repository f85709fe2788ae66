"""Timeouts by role, the names of processes, and the main job through PgBouncer in transaction mode."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from psycopg.errors import QueryCanceled

from backups.models import CleanupStage
from kvops import env
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.database_roles import Roles, roles
from tests.signing import signed_in

__all__ = ["roles"]

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
[databases]
{name} = host={host} port={port} dbname={name}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 3
max_prepared_statements = 0
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_each_role_has_its_timeouts_and_its_settings_of_the_planner(roles: Roles) -> None:
    found = {}
    for name in ("application", "web", "verifier"):
        with psycopg.connect(getattr(roles, name)) as opened:
            names = (
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "jit",
                "random_page_cost",
            )
            found[name] = [opened.execute(f"SHOW {one}").fetchone()[0] for one in names]  # type: ignore[index]
    assert found == {
        "application": ["0", "0", "1min", "off", "1.1"],
        "web": ["30s", "10s", "1min", "off", "1.1"],
        "verifier": ["0", "0", "1min", "off", "1.1"],
    }


def test_a_migration_does_not_wait_for_a_lock_for_long(roles: Roles) -> None:
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("10s",)


def test_the_web_role_may_do_what_the_application_may_and_no_more(roles: Roles) -> None:
    with psycopg.connect(roles.web, autocommit=True) as web:
        web.execute("UPDATE kvops_run SET epoch = epoch")
        for statement in (
            "DELETE FROM audit_entry",
            "UPDATE kvops_policyversion SET id = id",
            "CREATE TABLE x (n int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                web.execute(statement)


def test_a_statement_of_the_web_server_that_takes_too_long_ends(roles: Roles) -> None:
    with psycopg.connect(roles.web) as web, pytest.raises(QueryCanceled):
        web.execute("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(5)")


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["manage.py", "worker"], "kvops worker"),
        (["/srv/kvops/manage.py", "sweep", "--once"], "kvops sweep"),
        (["/srv/kvops/.venv/bin/gunicorn", "kvops.wsgi"], "kvops web"),
        (["manage.py"], "kvops web"),
    ],
)
def test_a_process_has_its_name_in_postgres(argv: list[str], name: str) -> None:
    assert env.process(argv) == name


@pytest.fixture
def pooled(roles: Roles, tmp_path: Path) -> Iterator[Roles]:
    """PgBouncer in transaction mode before the test database, and Django behind it."""
    assert PGBOUNCER, "Install the package pgbouncer; .ci/system does."
    parts, listen = urlsplit(roles.application), free_port()
    users = tmp_path / "users.txt"
    logins = [urlsplit(address) for address in (roles.application, roles.verifier, roles.web)]
    users.write_text("".join(f'"{one.username}" "{one.password}"\n' for one in logins), "utf-8")
    settings = {"name": parts.path.strip("/"), "host": parts.hostname, "port": parts.port}
    file = tmp_path / "pgbouncer.ini"
    file.write_text(CONFIGURATION.format(**settings, listen=listen, users=users), "utf-8")
    for path in (tmp_path, users, file):
        path.chmod(0o755)
    server = subprocess.Popen([PGBOUNCER, "-q", "-u", "nobody", str(file)])
    try:
        while not accepts(listen):
            time.sleep(0.02)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(connection.settings_dict, "PORT", str(listen))
            patch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
            yield roles
            connection.close()
    finally:
        server.terminate()
        server.wait()


def through(address: str) -> str:
    """The address of the same role behind PgBouncer."""
    return address.replace(f":{urlsplit(address).port}/", f":{connection.settings_dict['PORT']}/")


def test_the_main_job_goes_through_pgbouncer(pooled: Roles, estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    with pooled.working_as(through(pooled.application)):
        stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
        assert stage.state == CleanupStage.State.CONFIRMED


def test_pages_go_through_pgbouncer(pooled: Roles, estate: make.Estate, people: make.People) -> None:
    client = signed_in(people.operator)
    with pooled.working_as(through(pooled.web)):
        assert [client.get(page).status_code for page in ("/", "/runs/", "/audit/", "/backups/")] == [200] * 4
