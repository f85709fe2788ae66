"""`manage.py sandbox`: the whole product on this machine, from an empty folder to an address to open."""

import argparse
import fcntl
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from sandbox import environment, node, postgres, seeding
from sandbox.environment import FOLDER, PEOPLE, ROOT, Ports, SandboxAccount
from sandbox.processes import ProcessFailed, StepFailed, Supervisor, listening, say

POLICY = Path(__file__).parent / "policy.toml"
CODE = Path(__file__).parent / "code"
# Management commands, in the order of their start. `OWNER` runs as the owner of the tables, at each start; so does
# `ALWAYS`, as `app`. `FIRST` runs once on an empty folder, before the servers. `SCANS` run before and after the rest of
# the sample data, `BACKUPS` and `COMPARED` last.
OWNER: Sequence[Sequence[str]] = (("migrate", "--no-input", "-v0"), ("setup_roles",))
ALWAYS: Sequence[Sequence[str]] = (("collectstatic", "--no-input", "-v0"),)
FIRST: Sequence[Sequence[str]] = (
    ("shell", "-v0", "-c", "from sandbox import people; people.create()"),
    ("apply_environments", "{environments}"),
    ("apply_policy", str(POLICY)),
    ("shell", "-v0", "-c", "from sandbox import history; history.create()"),
    *(
        ("scan_references", account.slug, "--path", str(CODE), "--commit", environment.CODE_COMMIT)
        for account in environment.accounts()
    ),
)
SCANS: Sequence[Sequence[str]] = tuple(("scan", f"{account.slug}/SETTINGS") for account in environment.accounts())
SETTINGS = ("--prefix", "system-root", "--prefix", "api-key:", "--prefix", "mail:", "--to-r2")
BACKUPS: Sequence[Sequence[str]] = tuple(
    ("kv_dump", f"{account.slug}/SETTINGS", *SETTINGS) for account in environment.accounts()
)
LOOK: Sequence[str] = ("shell", "-v0", "-c", "from sandbox import history; history.look()")
"""A first look at the deployed code; the schedule's comes within the hour."""
COMPARED: Sequence[Sequence[str]] = (("shell", "-v0", "-c", "from sandbox import history; history.compare()"),)
GUNICORN = ["-m", "gunicorn", "kvops.wsgi", "--bind"]
SERVERS: Mapping[str, Sequence[str]] = {"worker": ("worker",), "sweep": ("sweep",)}
STARTED = "started.txt"
"""The static file that holds the number of this start: no other program's answer is taken for the web server's."""
TRIES, AGAIN = 12, 10.0
"""How often a step of the sample data is tried, every so many seconds, while a person's work is in its way."""


def run(folder: Path, reset: bool, *, only_cloudflare: bool = False) -> int:
    """Start everything, or only Cloudflare. Return 0 after Ctrl-C and 1 after a failure.

    `reset` deletes the sandbox's data first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = folder.resolve()
    try:
        with _only_one(folder, reset):
            (_cloudflare if only_cloudflare else _everything)(folder)
    except (ProcessFailed, seeding.SeedingFailed) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command starts it again with its data")
    return 0


def _everything(folder: Path) -> None:
    started = time.monotonic()
    with (
        listening(folder / "ports" / "web", environment.WEB_PORT) as sockets,
        postgres.running(folder / "postgres") as database_url,
        Supervisor(folder / "logs") as supervisor,
    ):
        ports = environment.ports(folder, sockets[0].getsockname()[1])
        sandbox = _Sandbox(folder, supervisor, ports, database_url, sockets)
        sandbox.bring_up()
        _welcome(sandbox.ports, time.monotonic() - started)
        if sandbox.fill():
            _welcome(sandbox.ports, time.monotonic() - started)
        sandbox.stay()


def _cloudflare(folder: Path) -> None:
    """Cloudflare's runtime with the sample keys, for an installation of KVOps elsewhere on this machine."""
    with Supervisor(folder / "logs") as supervisor:
        sandbox = _Sandbox(folder, supervisor, environment.ports(folder), "")
        environments = sandbox.start_cloudflare()
        sandbox.seed()
        print(environment.for_an_installation(environments), flush=True)
        sandbox.stay()


@dataclass(slots=True)
class _Sandbox:
    folder: Path
    supervisor: Supervisor
    ports: Ports
    owner_url: str
    sockets: Sequence[socket.socket] = ()
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def database_url(self) -> str:
        """The database URL for the servers and all other commands."""
        return environment.role_url(self.folder, self.owner_url, "app")

    @property
    def web_url(self) -> str:
        """The database URL for the web server, whose statements may not take long."""
        return environment.role_url(self.folder, self.owner_url, "web")

    @property
    def verifier_url(self) -> str:
        """The database URL for the command that verifies the audit log."""
        return environment.role_url(self.folder, self.owner_url, "verifier")

    def bring_up(self) -> None:
        """Start Cloudflare, set Django up, then start web, worker and sweep."""
        environments = str(self.start_cloudflare())
        self._write_env()
        owner = self._environ() | {"DATABASE_URL": self.owner_url, "KVOPS_APP_DATABASE_URL": self.database_url}
        owner["KVOPS_VERIFIER_DATABASE_URL"] = self.verifier_url
        owner["KVOPS_WEB_DATABASE_URL"] = self.web_url
        for step in OWNER:
            self._manage(step, owner)
        for step in ALWAYS:
            self._manage(step)
        for step in FIRST:
            self._once(
                _name(step), partial(self._manage, [word.replace("{environments}", environments) for word in step])
            )
        self._start_web()
        for name, command in SERVERS.items():
            self._serve(name, (str(ROOT / "manage.py"), *command), environment.for_worker(self._environ()))

    def _start_web(self) -> None:
        """Start gunicorn on the sockets that listen since the beginning, and wait for its own answer."""
        descriptors = [one.fileno() for one in self.sockets]
        first, *others = [f"fd://{number}" for number in descriptors]
        gunicorn = [*GUNICORN, first, *(word for other in others for word in ("--bind", other))]
        web = environment.for_web(self._environ()) | {"DATABASE_URL": self.web_url}
        (self.folder / "static" / STARTED).write_text(self.nonce)
        self._serve("web", gunicorn, web, ready=lambda: serves(self.ports.web_url, self.nonce), keep=descriptors)

    def start_cloudflare(self) -> Path:
        """Start Cloudflare, seed `master:` and D1, and return the file with the two environments."""
        runtime = node.install(self.supervisor)
        node.start(self.supervisor, runtime, self.folder / "cloudflare", self.ports.cloudflare)
        self._once("first-keys", self._seed_first)
        return self._environments()

    def seed(self) -> list[bool]:
        """Seed the other sample keys. Return for each account whether any were missing."""
        return [
            self._once(f"all-keys-{account.slug}", partial(self._seed_rest, account))
            for account in environment.accounts()
        ]

    def fill(self) -> bool:
        """Scan what is there, so that the pages have content, seed the other sample keys, scan all and back up.

        Return whether anything was missing: then much was printed since the address. The overview says so meanwhile.
        The first scan is of `master:` only: a later new key of a legacy family that it had listed would be an alarm.
        """
        marker = environment.filling(self.folder)
        marker.touch()
        try:
            done = [
                self._unhindered("look", partial(self._patiently, LOOK)),
                self._unhindered("first-scans", partial(self._scan, "--prefix", "master:")),
                *self.seed(),
                self._unhindered("all-scans", self._scan),
                self._unhindered("backups", self._back_up),
            ]
        finally:
            marker.unlink()
        return any(done)

    def _unhindered(self, name: str, work: Callable[[], None]) -> bool:
        """As `_once`. If a person's work stays in the way, the step is left out until the next start."""
        try:
            return self._once(name, work)
        except StepFailed as failed:
            self.supervisor.check()
            say(f"{failed.reason}\n  This part of the sample data is left out. The next `make demo` adds it.")
            return True

    def _patiently(self, command: Sequence[str]) -> None:
        """Run a command, again if a person's work is in its way. Raises StepFailed, and ProcessFailed of a server."""
        for again in [True] * (TRIES - 1) + [False]:
            try:
                self._manage(command)
            except StepFailed as failed:
                self.supervisor.check()
                if not again:
                    raise
                say(f"{failed.reason}\n  It is tried again in {AGAIN:.0f} s.")
                time.sleep(AGAIN)
            else:
                return

    def stay(self) -> None:
        """Wait for a signal. Raises ProcessFailed if a process ends."""
        while True:
            self.supervisor.check()
            time.sleep(0.5)

    def _environments(self) -> Path:
        file = self.folder / "environments.toml"
        file.write_text(environment.environments_toml(self.ports), "utf-8")
        return file

    def _write_env(self) -> None:
        """Write the settings to a file for a shell, readable by this user only."""
        ours = {name: value for name, value in self._environ().items() if os.environ.get(name) != value}
        ours["KVOPS_VERIFIER_DATABASE_URL"] = self.verifier_url
        file = self.folder / "env"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(ours.items())), "utf-8")

    def _seed_first(self) -> None:
        for account in environment.accounts():
            say(f"{account.name}: D1 and master:")
            seeding.seed_first(account, self.ports.api_base_url)

    def _seed_rest(self, account: SandboxAccount) -> None:
        def tell(done: int, total: int) -> None:
            say(f"{account.name}: {done:,} of {total:,} more sample keys")
            self.supervisor.check()

        seeding.seed_rest(account, self.ports.api_base_url, tell)

    def _scan(self, *options: str) -> None:
        for scan in SCANS:
            self._patiently([*scan, *options])

    def _back_up(self) -> None:
        for backup in (*BACKUPS, *COMPARED):
            self._patiently(backup)

    def _once(self, name: str, work: Callable[[], None]) -> bool:
        """Do the work unless it was done before. Return whether it was done now."""
        done = self.folder / "done" / name
        if done.exists():
            return False
        work()
        done.parent.mkdir(exist_ok=True)
        done.touch()
        return True

    def _manage(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        argv = [sys.executable, str(ROOT / "manage.py"), *command]
        self.supervisor.run(_name(command), argv, env=environ or self._environ(), cwd=ROOT)

    def _serve(
        self,
        name: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        ready: Callable[[], bool] | None = None,
        keep: Sequence[int] = (),
    ) -> None:
        self.supervisor.start(name, [sys.executable, *arguments], env=env, cwd=ROOT, ready=ready, keep=keep)

    def _environ(self) -> dict[str, str]:
        return environment.environ(self.folder, self.ports, self.database_url)


def _name(command: Sequence[str]) -> str:
    """The name of a step on the terminal and in the folder: its command and the argument that tells it apart."""
    match command[0]:
        case "scan" | "kv_dump" | "scan_references":
            return f"{command[0]} {command[1].replace('/', ' ')}"
        case "shell":
            return command[-1].split()[-1].removesuffix(".create()").removesuffix("()").replace(".", " ")
    return command[0]


@contextmanager
def _only_one(folder: Path, reset: bool) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    lock = folder / "lock"
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessFailed(f"A sandbox is running already in {folder}; stop it first (Ctrl-C).") from None
        if reset:
            _empty(folder)
            if "DATABASE_URL" in os.environ:
                say("DATABASE_URL is set: the database it names is yours and keeps its data")
        (folder / ".gitignore").write_text("*\n")
        yield


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def serves(url: str, nonce: str) -> bool:
    """Whether the web server of this start answers at the address that people open."""
    try:
        told = httpx.get(f"{url}/static/{STARTED}", trust_env=False, timeout=5.0).text
        return told == nonce and httpx.get(f"{url}/healthz", trust_env=False, timeout=5.0).is_success
    except httpx.TransportError:
        return False


def _welcome(ports: Ports, seconds: float) -> None:
    width = max(map(len, PEOPLE))
    print(f"\n  KVOps is at {ports.web_url}   ({seconds:.0f} s)\n")
    for mail, (role, password) in PEOPLE.items():
        print(f"    {mail:<{width}}  {password:<24} {role}")
    print(
        "\n  Ctrl-C stops it. `make demo` starts it again with its data, `make demo RESET=1` starts over.\n", flush=True
    )


def main(argv: Sequence[str]) -> int:
    """The command line of `manage.py sandbox`."""
    parser = argparse.ArgumentParser(prog="manage.py sandbox", description=__doc__)
    parser.add_argument("--reset", action="store_true", help="throw the sandbox's data away first")
    parser.add_argument(
        "--cloudflare",
        action="store_true",
        help="only Cloudflare's runtime with the sample keys, to try an installation against (docs/install.md)",
    )
    asked = parser.parse_args(argv)
    return run(FOLDER, asked.reset, only_cloudflare=asked.cloudflare)
