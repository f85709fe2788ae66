"""The product's processes, each started again when it has died, as systemd or Docker would."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from bench.place import ROOT


class Service:
    """One of them by its command line, in a process group of its own."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._argv, self._log = [sys.executable, *arguments], log
        self._process: psutil.Popen | None = None
        self._seen: set[psutil.Process] = set()
        self._orphans: set[psutil.Process] = set()

    def revive(self) -> None:
        """Start it unless it runs. What is left of its group is ended before; what left the group ends by itself."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._end_group(self._process.pid)
        with self._log.open("ab") as log:
            self._process = psutil.Popen(
                self._argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def processes(self) -> list[psutil.Process]:
        """The main process and everything below it, that first; nothing when it has died."""
        if self._process is None or self._process.poll() is not None:
            return []
        main = psutil.Process(self._process.pid)
        with suppress(psutil.NoSuchProcess):
            found = [main, *main.children(recursive=True)]
            self._seen.update(found)
            return found
        return []

    def left_behind(self) -> int:
        """How many run on without the process they were started for, and did so when this was last asked; ends them."""
        before, self._orphans = self._orphans, self._without_a_parent()
        stayed = before & self._orphans
        for process in stayed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return len(stayed)

    def _without_a_parent(self) -> set[psutil.Process]:
        mine = self.processes()
        self._seen = {process for process in self._seen if _alive(process)}
        return self._seen.difference(mine)

    def tail(self) -> str:
        """The end of what it said."""
        return self._log.read_text("utf-8", "replace")[-3000:] if self._log.exists() else ""

    def end(self) -> None:
        """Leave nothing behind."""
        for process in (*self.processes(), *self._without_a_parent()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._process is not None:
            self._end_group(self._process.pid)
            self._process.wait()

    @staticmethod
    def _end_group(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
