"""The product's processes on one machine, of which some are killed at random moments and come back as they would."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
from django.db import InterfaceError, OperationalError, connection

from audit.models import Entry
from kvops.models import Run
from sandbox.processes import remembered_port
from tests.clusters import MANAGE
from tests.torture.postgres_lane import LosablePostgres
from tests.torture.rows import Found
from tests.torture.services import Service

OFTEN = {"worker": 1, "cluster": 2, "sweep": 1, "web": 1, "Postgres": 1}
"""How often each is struck: the cluster has six processes, two of which do the work."""
SOON = 2.0
"""Seconds at most between the moment that is meant and the kill."""
WORK = 5.0
"""Seconds for which half of the kills then wait for work that is under way."""
DOWN = 1.0
"""Seconds at most that Postgres is away."""
PATIENCE = 180.0
"""Seconds after the last kill in which the job must have ended."""


@dataclass
class _Kill:
    """What is struck, `after` seconds after this entry of the record, then at the next work within so many seconds."""

    moment: int
    kind: str
    after: float
    for_work: float
    reached_at: float | None = None

    def is_due(self) -> bool:
        """Whether to strike now."""
        if self.reached_at is None:
            if asked(Entry.objects.count, 0) >= self.moment:
                self.reached_at = time.monotonic()
            return False
        waited = time.monotonic() - self.reached_at - self.after
        return waited >= self.for_work or (waited >= 0 and bool(_working()))


class Machine:
    """A worker and a sweep, a web server at `url` where people click; with Postgres when it has a `database`."""

    def __init__(self, folder: Path, database: LosablePostgres | None = None, *, people: bool = True) -> None:
        self._database, self._data = database, folder / "data"
        port = remembered_port(folder / "web-port")
        self.url = f"http://127.0.0.1:{port}"
        threads = ["--worker-class=gthread", "--threads=8", "--no-control-socket"]
        gunicorn = ["-m", "gunicorn", "kvops.wsgi", *threads, f"--bind=127.0.0.1:{port}"]
        commands = {"worker": [str(MANAGE), "worker"], "sweep": [str(MANAGE), "sweep"]} | (
            {"web": gunicorn} if people else {}
        )
        self._services = {name: Service(command, folder / f"{name}.log") for name, command in commands.items()}
        there = {*commands, "cluster", *(["Postgres"] if database else [])}
        self._often = {kind: often for kind, often in OFTEN.items() if kind in there}

    def revive(self) -> None:
        """Start what does not run."""
        for service in self._services.values():
            service.revive()

    def end(self) -> None:
        """Leave nothing behind."""
        for service in self._services.values():
            service.end()

    def said(self) -> str:
        """The end of what each said."""
        return "\n".join(service.tail() for service in self._services.values())

    def torment(self, chance: Random, moments: Sequence[int], over: Callable[[], bool]) -> Found:
        """Kill something soon after each of these entries of the record, until the job is over."""
        found: Counter[str] = Counter()
        kinds = chance.choices(list(self._often), list(self._often.values()), k=len(moments))
        left = [
            _Kill(moment, kind, chance.uniform(0, SOON), chance.choice([0.0, WORK]))
            for moment, kind in zip(moments, kinds, strict=True)
        ]
        last = time.monotonic()
        while not (ended := asked(over, False)) and time.monotonic() < last + PATIENCE:
            if left and left[0].is_due() and (struck := self._strike(left[0].kind, chance)):
                found.update(struck)
                last = time.monotonic()
                del left[0]
            self.revive()
            time.sleep(0.02)
        left_behind = sum(service.left_behind() for service in self._services.values())
        seconds = time.monotonic() - last if ended else PATIENCE
        return {**found, "ended after": seconds, "left behind": float(left_behind)}

    def _strike(self, kind: str, chance: Random) -> list[str]:
        """Kill one process: what it was, and whether it was at work. Nothing when there is none of its kind now."""
        working = _working()
        if kind == "Postgres":
            self._strike_postgres(chance)
            return [kind, "at work"] if working else [kind]
        processes = self._candidates(kind)
        holders = [process for process in processes if process.pid in working]
        if holders and chance.random() < 0.75:
            processes = holders
        if not processes:
            return []
        victim = chance.choice(processes)
        with suppress(psutil.NoSuchProcess):
            victim.kill()
        return [kind, "at work"] if victim.pid in working else [kind]

    def _candidates(self, kind: str) -> list[psutil.Process]:
        match kind:
            case "worker":
                return self._services["worker"].processes()[:1]
            case "cluster":
                return self._services["worker"].processes()[1:]
        return self._services[kind].processes()

    def _strike_postgres(self, chance: Random) -> None:
        """Its main process, which is started again like any service, or one of those it starts again by itself."""
        assert self._database
        if chance.random() < 0.5:
            self._database.lose(violently=True)
            time.sleep(chance.uniform(0, DOWN))
            self._database.start()
            return
        main = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        with suppress(psutil.NoSuchProcess, ProcessLookupError, IndexError):
            os.kill(chance.choice(psutil.Process(main).children()).pid, signal.SIGKILL)


def asked[T](ask: Callable[[], T], otherwise: T) -> T:
    """The database's answer; `otherwise` when it gives none."""
    try:
        return ask()
    except (OperationalError, InterfaceError):
        connection.close()
        return otherwise


def _working() -> set[int]:
    """The processes that hold a lease now."""
    held = Run.objects.filter(state=Run.State.RUNNING).exclude(owner="").values_list("owner", flat=True)
    nobody: list[str] = []
    return {int(owner.rpartition(":")[2]) for owner in asked(lambda: list(held), nobody)}
