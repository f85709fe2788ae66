"""The blocks of docs/operate.md are played as they are: a dump is restored beside the damaged database, which stays."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from backups.generations import start as generation_start
from kvops.models import Category
from sandbox import postgres
from tests import make
from tests.clusters import database_url

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/operate.md").read_text("utf-8").split("## Upgrade")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
READS = "Nothing that was compared differs, but this could not be compared"
TAMPERED = "The audit log was tampered with or damaged. First problem"


def block(words: str) -> str:
    """The first block of the page that has these words."""
    return next(str(one) for one in BLOCKS if words in one)


def address_of(name: str, login: str = "") -> str:
    """The address of a database on the server at hand; `login` is another role with its password."""
    ours, place = database_url().rpartition("/")[0].split("@")
    return f"postgres://{login}@{place}/{name}" if login else f"{ours}@{place}/{name}"


def rows_of(name: str) -> dict[str, str]:
    """A digest of each table of a database."""
    with psycopg.connect(address_of(name)) as there:
        tables = [row[0] for row in there.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        asked = "SELECT coalesce(string_agg(t::text, ',' ORDER BY t::text), '') FROM {} t"
        found = {one: there.execute(sql.SQL(asked).format(sql.Identifier(one))).fetchone() for one in tables}
    return {one: sha256(str(rows).encode()).hexdigest() for one, rows in found.items()}


@dataclass
class InstalledServer:
    """A server as docs/install.md leaves it. The reader of the page has set the variables that it asks for."""

    settings: Path
    damaged: str
    restored: str
    environ: dict[str, str] = field(default_factory=dict)

    def play(self, words: str) -> subprocess.CompletedProcess[str]:
        """Run the block with these words, in a shell that ends at the first command that fails."""
        return subprocess.run(
            ["sh", "-e", "-c", block(words)],
            env=self.environ,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )

    def succeed(self, words: str) -> str:
        """Run it, and insist that every command of it works."""
        done = self.play(words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def server(estate: make.Estate, people: make.People, tmp_path: Path) -> Iterator[InstalledServer]:
    """Files of settings for the database at hand, which the role `kvops_owner` owns as its user does."""
    name, facts = str(connection.settings_dict["NAME"]), connection.settings_dict
    found = InstalledServer(tmp_path, name, f"{name}_restored")
    app, verifier, owner = f"{name}_r_app", f"{name}_r_verifier", "kvops_owner"
    urls = {key: address_of(name, f"{role}:secret") for key, role in (("app", app), ("verifier", verifier))}
    (tmp_path / "kvops.env").write_text(f"DATABASE_URL={urls['app']}\n")
    (tmp_path / "worker.env").write_text("# the tokens\n")
    (tmp_path / "migrate.env").write_text(
        f"DATABASE_URL={address_of(name, f'{owner}:secret')}\n"
        f"KVOPS_APP_DATABASE_URL={urls['app']}\nKVOPS_VERIFIER_DATABASE_URL={urls['verifier']}\n"
    )
    libpq = {"PGHOST": facts["HOST"], "PGPORT": facts["PORT"], "PGUSER": facts["USER"], "PGPASSWORD": facts["PASSWORD"]}
    path = os.pathsep.join([str(Path(sys.executable).parent), str(postgres.binaries()), os.environ["PATH"]])
    dumps = {"SETTINGS": str(tmp_path), "DUMPS": str(tmp_path), "PATH": path}
    found.environ = {**os.environ, **{key: str(value) for key, value in libpq.items()}, **dumps}
    with psycopg.connect(address_of("postgres"), autocommit=True) as admin:
        for command in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "DROP ROLE IF EXISTS kvops_owner"):
            admin.execute(sql.SQL(command).format(sql.Identifier(found.restored)))
        admin.execute(sql.SQL("CREATE ROLE kvops_owner LOGIN CREATEROLE PASSWORD 'secret'"))
        admin.execute(sql.SQL("GRANT {} TO kvops_owner").format(sql.Identifier(str(facts["USER"]))))
        try:
            yield found
        finally:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            admin.execute(drop.format(sql.Identifier(found.restored)))
            for role in (app, verifier, owner):
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def back_up(estate: make.Estate) -> None:
    """A backup, whose manifest names the head of the audit log."""
    generation_start.start_backup(estate.qa, prefixes=["stock:"], actor=make.SETUP)
    make.work()


def test_the_page_restores_a_dump_beside_the_damaged_database(estate: make.Estate, server: InstalledServer) -> None:
    make.family("stock:", Category.LEGACY)
    estate.put(estate.qa, "stock:x")
    back_up(estate)
    server.succeed("pg_dump")
    [dump] = server.settings.glob("*.dump")
    at_the_dump = rows_of(server.damaged)
    back_up(estate)
    damaged = rows_of(server.damaged)
    server.environ |= {"DAMAGED": server.damaged, "RESTORED": server.restored, "DUMP": str(dump)}

    server.succeed("createdb")
    shown = server.succeed("sed -i")
    assert shown.count(f"/{server.restored}\n") == shown.count("DATABASE_URL=") == 4
    assert "secret" not in shown
    server.succeed("pg_restore")
    restored = rows_of(server.restored)
    assert {table for table in at_the_dump if restored[table] != at_the_dump[table]} <= {"django_migrations"}

    alone = server.play("KVOPS_VERIFIER_DATABASE_URL")
    assert (alone.returncode, READS in alone.stderr) == (1, True), alone.stdout + alone.stderr
    before = server.play('worker.env" -- python manage.py verify_audit')
    assert "names it as the head of its time" in before.stderr
    assert (before.returncode, TAMPERED in before.stderr) == (1, True), before.stdout + before.stderr
    after = server.succeed("accept_restored_database")
    assert "Accepted although" in after
    assert rows_of(server.damaged) == damaged
    with psycopg.connect(address_of(server.restored)) as there, pytest.raises(psycopg.errors.RestrictViolation):
        there.execute("UPDATE audit_entry SET subject = 'forged'")
