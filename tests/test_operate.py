"""The commands of docs/operate.md do what it says: a dump of the database is restored, with its guards."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from audit import log
from audit.actions import Action
from audit.models import Entry
from sandbox import postgres
from tests import make
from tests.clusters import database_url

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/operate.md").read_text("utf-8")


def documented(program: str, owner: str, dump: Path) -> list[str]:
    """The command with this name in docs/operate.md, for this database and this file."""
    [line] = re.findall(rf"^{program} .*$", TEXT, re.MULTILINE)
    words = [word.replace("$OWNER", owner).replace("kvops.dump", str(dump)) for word in shlex.split(line)]
    return [str(postgres.binaries() / program), *words[1:]]


def address_of(name: str) -> str:
    return f"{database_url().rpartition('/')[0]}/{name}"


@pytest.fixture
def restored(people: make.People, tmp_path: Path) -> Iterator[str]:
    """The address of a database that was dumped and restored as documented."""
    with log.transaction():
        log.record(Action.SIGNIN_SUCCEEDED, actor=people.operator.actor)
    name, dump = f"{connection.settings_dict['NAME']}_restored", tmp_path / "kvops.dump"
    with psycopg.connect(address_of("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        ours = str(connection.settings_dict["NAME"])
        for program, database in (("pg_dump", ours), ("pg_restore", name)):
            subprocess.run(documented(program, address_of(database), dump), check=True)
        yield address_of(name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_restored_dump_has_the_whole_audit_log(restored: str) -> None:
    with psycopg.connect(restored) as there:
        rows = there.execute("SELECT seq, row_hash FROM audit_entry ORDER BY seq").fetchall()
    assert rows == list(Entry.objects.order_by("seq").values_list("seq", "row_hash"))
    assert rows


def test_a_restored_dump_still_refuses_to_change_the_audit_log(restored: str) -> None:
    with psycopg.connect(restored) as there, pytest.raises(psycopg.errors.RestrictViolation):
        there.execute("UPDATE audit_entry SET subject = 'forged'")


def test_a_restored_dump_passes_the_verification_of_the_audit_log(restored: str) -> None:
    [line] = re.findall(r'DATABASE_URL="\$VERIFIER" python (manage.py verify_audit)', TEXT)
    done = subprocess.run(
        [sys.executable, *line.split()],
        env={**os.environ, "DATABASE_URL": restored},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
