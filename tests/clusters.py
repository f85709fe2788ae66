"""`manage.py worker` and `sweep` as processes of their own, and the processes of a cluster by what they do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import psutil
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ

from kvops.supervision import heartbeats

MANAGE = settings.BASE_DIR / "manage.py"


def until(what: str, met: Callable[[], bool]) -> None:
    """Poll until it is so; a test that waits for ever is ended by its timeout, and says what it waits for."""
    print(f"until {what}")
    while not met():
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Whether it runs and is more than a zombie."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def database_url() -> str:
    """The database at hand, for a process of its own."""
    name = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format_map(name)


def _title(part: psutil.Process) -> str:
    """What a process of a cluster says it does; nothing once it has ended."""
    words = " ".join(part.cmdline()).split()
    return words[-1] if words else ""


class Sweep:
    """`manage.py sweep` on the database at hand."""

    def __init__(self, output: Path, environ: dict[str, str]) -> None:
        self.output = output
        with output.open("wb") as stream:
            self.process = psutil.Popen(
                [sys.executable, str(MANAGE), "sweep"],
                env={**os.environ, "DATABASE_URL": database_url(), **environ},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        """Kill it, whatever the test did."""
        if alive(self.process):
            self.process.kill()
        self.process.wait()
        print(self.output.read_text())


class Worker:
    """`manage.py worker` on the database at hand, and every process it was seen with."""

    def __init__(self, output: Path, environ: Mapping[str, str] = MappingProxyType({})) -> None:
        self.output = output
        with output.open("wb") as stream:
            self.process = psutil.Popen(
                [sys.executable, str(MANAGE), "worker"],
                env={**os.environ, "DATABASE_URL": database_url(), **environ},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._seen: set[psutil.Process] = {self.process}

    def parts(self) -> dict[str, psutil.Process]:
        """The processes of the cluster by what they do, as soon as all are there."""
        # One that is being replaced may be gone while it is looked at.
        with suppress(psutil.NoSuchProcess):
            self._seen.update(self.process.children(recursive=True))
            for cluster in self.process.children():
                for sentinel in cluster.children():
                    titled = [(title, part) for part in sentinel.children() if (title := _title(part))]
                    # A worker's title says what it does; one that replaced another is younger than all the rest.
                    others = {title: part for title, part in titled if title in {"monitor", "pusher"}}
                    workers = [part for title, part in titled if title not in others]
                    if (len(others), len(workers)) == (2, 2):
                        return {"sentinel": sentinel, **others, "worker": workers[0], "second worker": workers[1]}
        return {}

    def idle(self) -> dict[str, psutil.Process]:
        """The processes of the cluster after its first canary came back and the first look into the buckets is over."""
        until("a canary comes back", lambda: heartbeats.age("canary") is not None)
        until(
            "the looks are over",
            lambda: not any(one.func() == "kvops.tasks.look_into_bucket" for one in OrmQ.objects.all()),
        )
        return self.parts()

    def left(self) -> list[psutil.Process]:
        """What still runs of everything that was seen."""
        return [process for process in self._seen if alive(process)]

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if alive(self.process):
            self._seen.update(self.process.children(recursive=True))
        for process in self.left():
            process.kill()
        self.process.wait()
        print(self.output.read_text())
