"""`python -m tests.torture.exporting PART SCALE`: drives a run per line of input, each in a process that can be killed.

Prints the process's number and, when it has ended, the most memory it had, in bytes.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from django.db import connection

from bench.place import ROOT
from kvops import env


@contextmanager
def exporter(part: int, *, scale: float = 0.01) -> Iterator["Exporter"]:
    """A process that drives runs on the database at hand, with parts of so many keys and times scaled so."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    command = [sys.executable, "-m", "tests.torture.exporting", str(part), str(scale)]
    environ = {**os.environ, **env.WORKER, "DATABASE_URL": database}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Exporter(process)
        if process.stdin:
            process.stdin.close()


class Exporter:
    """The other end of that process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def drive(self, run: int, started: Callable[[int], None]) -> int:
        """Drive a run by a step in a process whose number is told, and wait for its end: its most memory, in bytes."""
        if not (self._process.stdin and self._process.stdout):
            raise AssertionError("the exporter has no pipes")
        print(run, file=self._process.stdin, flush=True)
        started(int(self._process.stdout.readline()))
        return int(self._process.stdout.readline())


def main() -> None:
    """Work through the input."""
    import tests.environ  # noqa: F401, PLC0415, I001
    import django  # noqa: PLC0415

    os.environ["LOG_LEVEL"] = "ERROR"
    os.environ["KVOPS_TIME_SCALE"] = sys.argv[2]
    django.setup()
    from kvops.runs import driver as run_driver  # noqa: PLC0415
    from tests.torture import empty_estate  # noqa: PLC0415

    with empty_estate.no_waiting(), empty_estate.small_parts(int(sys.argv[1])), empty_estate.not_read_back():
        for line in sys.stdin:
            child = os.fork()
            if not child:
                run_driver.drive(int(line))
                os._exit(0)
            print(child, flush=True)
            print(os.wait4(child, 0)[2].ru_maxrss * 1024, flush=True)


if __name__ == "__main__":
    main()
