"""Trials side by side: each lane is a program with a database of its own, in which one trial follows the other.

The databases are copies of the one Django is connected to, whose tables must be empty.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import psycopg
from django.db import connection
from psycopg import sql

from bench.place import ROOT
from tests.torture.rows import Found

SCALE = 0.002
"""How much shorter than in production the children's durations are: a lease is 3 s, a request lasts 1 s at most."""

type _Ended = SimpleQueue[tuple[int, Found] | None]


def trials(trial: str, seed: int, numbers: Sequence[int], *, lanes: int) -> Iterator[tuple[int, Found]]:
    """Run `trial` (a function by its name) for each number."""
    with tempfile.TemporaryDirectory(prefix="kvops-lanes-") as name, _copy() as base:
        programs = []
        for at in range(min(lanes, len(numbers))):
            folder = Path(name) / str(at)
            folder.mkdir()
            more = [str(folder), f"{base}_{at}", base, trial, str(seed), str(SCALE)]
            programs.append(Program("tests.torture.lane", folder, more, {**os.environ, "DATABASE_URL": address()}))
        yield from side_by_side(programs, numbers)


@dataclass(frozen=True)
class Program:
    """What a lane runs: it reads a number per line, and answers each with a line of JSON."""

    module: str
    folder: Path
    arguments: Sequence[str]
    env: Mapping[str, str]


def side_by_side(programs: Sequence[Program], numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    """Run all programs at the same time, each number in one of them. Raises RuntimeError with its log when one breaks.

    A caller that stops early ends the programs.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    ended: _Ended = SimpleQueue()
    for number in numbers:
        waiting.put(number)
    running = [_Lane(program, waiting, ended) for program in programs]
    try:
        for _ in numbers:
            if (one := ended.get()) is None:
                break
            yield one
    except BaseException:
        for lane in running:
            lane.terminate()
        raise
    finally:
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        for lane in running:
            lane.join()
            sys.stderr.write(lane.said)
    if broken := [lane.said for lane in running if lane.broken]:
        raise RuntimeError(f"{len(broken)} of {len(running)} lanes broke.\n{broken[0]}")


class _Lane:
    """One lane as a process, and the thread that gives it numbers and hears of its trials."""

    def __init__(self, program: Program, waiting: SimpleQueue[int], ended: _Ended) -> None:
        self.said, self.broken = "", False
        self._log, self._waiting, self._ended = program.folder / "lane.log", waiting, ended
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", program.module, *program.arguments],
                cwd=ROOT,
                env=program.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._thread = Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        process = self._process
        assert process.stdin
        assert process.stdout
        # A lane that breaks hangs up.
        with suppress(Empty, BrokenPipeError), process.stdin, process.stdout:
            while True:
                process.stdin.write(f"{self._waiting.get_nowait()}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    break
                number, found = json.loads(line)
                self._ended.put((number, found))
        self.broken = process.wait() != 0
        if self.broken:
            self._ended.put(None)

    def terminate(self) -> None:
        """Ask it to end early."""
        self._process.terminate()

    def join(self) -> None:
        """Wait for its end; `said` has the end of its log."""
        self._thread.join()
        self.said = self._log.read_text("utf-8", "replace")[-20_000:]


def address(database: str = "") -> str:
    """The server Django is connected to, as a database URL."""
    known = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format_map(
        known | ({"NAME": database} if database else {})
    )


@contextmanager
def _copy() -> Iterator[str]:
    """A copy of the database for the lanes to copy again; what they leave behind is dropped with it."""
    base = f"{connection.settings_dict['NAME']}_lanes"
    # A database is copied while nobody is connected to it.
    connection.close()
    with psycopg.connect(address("postgres"), autocommit=True) as server:
        _drop(server, base)
        create(server, base, str(connection.settings_dict["NAME"]))
        try:
            yield base
        finally:
            _drop(server, base)


def create(server: psycopg.Connection, name: str, base: str) -> None:
    """A database like another one, in place of what has its name."""
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(base)))


def _drop(server: psycopg.Connection, base: str) -> None:
    found = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [base]).fetchall()
    for (name,) in found:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
