"""Where a bench works: a fresh database beside the given one, and the fakes in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from bench.fakes import ACCOUNT, READ_TOKEN, VALUE_SIZE
from kvops import env

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class BenchInstallation:
    """An installation with one namespace behind it."""

    env: Mapping[str, str]
    base_url: str
    fakes: "subprocess.Popen[str]"

    def work(self, *steps: str, **more: str) -> dict[str, dict[str, float]]:
        """Let a process of its own do these steps of `bench.steps`; what each one measured, and `peak_kib` of all."""
        found: dict[str, dict[str, float]] = answer_of(self.start(*steps, **more))
        return found

    def start(self, *steps: str, **more: str) -> "subprocess.Popen[str]":
        """The same without waiting for it; `more` are variables of its environment."""
        return self._process("bench.work", *steps, env={**self.env, **more})

    def bare(self, what: str, keys: int) -> dict[str, float]:
        """Let a process of its own do a loop of `bench.bare`; its seconds."""
        found: dict[str, float] = answer_of(self._process("bench.bare", what, str(keys), env=self.env))
        return found

    def _process(self, module: str, *words: str, env: Mapping[str, str]) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", module, *words]
        return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def calls(self) -> dict[str, int]:
        """Requests per route since this was asked last, as the fake counted them."""
        counted: dict[str, int] = _ask(self.fakes, "calls")
        return counted

    def journal(self, window: float) -> list[dict[str, Any]]:
        """What the quick fake wrote down of each account; see `bench.quick`."""
        found: list[dict[str, Any]] = _ask(self.fakes, f"journal {window}")
        return found

    def change(self, keys: int) -> None:
        """Give so many keys, evenly spread, another expiration."""
        _ask(self.fakes, f"change {keys}")


def answer_of(process: "subprocess.Popen[str]") -> Any:
    """What a process printed when it ended well."""
    printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}.")
    return json.loads(printed)


def _ask(fakes: "subprocess.Popen[str]", line: str) -> Any:
    assert fakes.stdin
    assert fakes.stdout
    fakes.stdin.write(f"{line}\n")
    fakes.stdin.flush()
    return json.loads(fakes.stdout.readline())


@contextmanager
def place(
    keys: int,
    *,
    size: int = VALUE_SIZE,
    latency: float | None = None,
    objects: int = 0,
    rows: int = 0,
    name: str = "",
    setup: str = "setup",
) -> Iterator[BenchInstallation]:
    """An installation whose namespace holds so many keys of `size` bytes, never scanned; gone afterwards.

    With a `latency` in seconds, which may be 0, Cloudflare is the quick fake for the benches of scale, with values of
    1 KiB; with `objects` the bucket holds so many, and with `rows` D1 has a table of so many. Places of different
    `name` exist beside each other; `setup` is the step that makes the environments.
    """
    served: tuple[str, ...] = ("bench.fakes", str(keys), str(size))
    if latency is not None:
        served = ("bench.quick", str(keys), str(latency))
    if rows:
        served = ("bench.tables", str(rows), str(latency or 0))
    if objects:
        served = ("bench.objects", str(objects))
    command = [sys.executable, "-m", *served]
    with (
        _database(name) as url,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fakes,
    ):
        addresses = _ask(fakes, "where")
        made = BenchInstallation(_environ(url) | addresses, addresses["BENCH_API"], fakes)
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, env=made.env, cwd=ROOT, check=True)
        made.work(setup)
        made.calls()
        yield made


@contextmanager
def _database(suffix: str) -> Iterator[str]:
    given = os.environ.get("DATABASE_URL")
    if not given:
        raise SystemExit("Set DATABASE_URL, or use `make bench`, which starts a Postgres for it.")
    name = f"{urlsplit(given).path.strip('/')}_bench{suffix}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(given)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(drop)


def _environ(url: str) -> dict[str, str]:
    """The settings: those of an installation, with its real durations, but for plain HTTP on loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KVOPS_")}
    return (
        kept
        | env.WORKER
        | {
            "DJANGO_SETTINGS_MODULE": "kvops.settings",
            "DATABASE_URL": url,
            "SECRET_KEY": "for-the-bench-only-" + "x" * 50,
            "ALLOWED_HOSTS": "localhost",
            "KVOPS_ALLOWED_API_HOSTS": "127.0.0.1",
            "KVOPS_TESTING": "1",
            "LOG_LEVEL": "WARNING",
            "BENCH_ACCOUNT": ACCOUNT,
            "BENCH_READ_TOKEN": READ_TOKEN,
            "BENCH_WRITE_TOKEN": "bench-write-token",
        }
    )
