"""A10: kill what a cluster is made of, or take its database away; it is noticed, and tasks are executed again.

Several lanes run side by side, because the trials mostly wait. A lane (`hang_lane.py`) is a program with a Postgres,
a worker and a sweep of its own, in which one trial follows the other.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from bench.place import ROOT
from bench.torture.rows import Figure, Found, Row
from sandbox import postgres

KINDS = ("database", "worker", "monitor", "pusher", "sentinel")
"""What is lost; the number of a trial says which."""
NOTICED, AGAIN = 60.0, 120.0
"""Seconds the promise allows, in production's time."""

type _Ended = SimpleQueue[tuple[int, Found] | None]


def trials(seed: int, numbers: Sequence[int], *, scale: float, lanes: int) -> Iterator[tuple[int, Found]]:
    """The trials in so many lanes. Raises RuntimeError with the end of its log when a lane breaks."""
    if not numbers:
        return
    ended: _Ended = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="kvops-hang-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the account that Postgres is lent to passes through
        template = _template(folder / "template")
        shares = [share for share in (numbers[first::lanes] for first in range(lanes)) if share]
        running = [_Lane(template, seed, share, scale, ended) for share in shares]
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
            for lane in running:
                lane.join()
    broken = [lane.said for lane in running if lane.broken]
    if broken:
        raise RuntimeError(f"{len(broken)} of {len(running)} lanes broke.\n{broken[0]}")


def _template(folder: Path) -> Path:
    """A Postgres with our tables in it, stopped, for the lanes to copy."""
    with redirect_stdout(sys.stderr), postgres.serving(folder) as url:
        code = (
            "import tests.environ, django; django.setup();"
            "from django.core.management import call_command; call_command('migrate', verbosity=0)"
        )
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)
    (folder / "port").unlink()
    return folder


class _Lane:
    """One lane as a process, and the thread that hears of its trials."""

    def __init__(self, template: Path, seed: int, numbers: Sequence[int], scale: float, ended: _Ended) -> None:
        folder = template.with_name(f"lane-{numbers[0]}")
        subprocess.run(["cp", "-a", template, folder], check=True)
        self.said, self.broken = "", False
        self._log, self._ended = folder / "lane.log", ended
        argv = [sys.executable, "-m", "bench.torture.hang_lane", str(folder), str(scale), str(seed)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*argv, *map(str, numbers)], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=log
            )
        self._thread = Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as answers:
            for line in answers:
                number, found = json.loads(line)
                self._ended.put((number, found))
        self.broken = self._process.wait() != 0
        if self.broken:
            self._ended.put(None)

    def terminate(self) -> None:
        """Ask it to end early."""
        self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended; `said` is the end of its log."""
        self._thread.join()
        self.said = self._log.read_text("utf-8", "replace")[-4000:]


def figures(found: Sequence[Found], *, bounds: bool) -> list[Figure]:
    """Per kind: how many were noticed and cured, and how long that took; `bounds` where time is production's."""
    made: list[Figure] = []
    for kind, name in enumerate(KINDS):
        mine = [one for one in found if one["kind"] == kind]
        if not mine:
            continue
        cured = [one for one in mine if one["cured"]]
        made.append(Figure(f"{name} lost: noticed and working again", len(cured), "==", len(mine)))
        for what, bound in (("noticed", NOTICED), ("again", AGAIN)) if cured else ():
            seconds = sorted(one[what] for one in cured)
            words = "s to notice" if what == "noticed" else "s until tasks are executed again"
            made.append(Figure(f"{name} lost: {words}, median", statistics.median(seconds)))
            made.append(Figure(f"{name} lost: {words}, longest", seconds[-1], *(("<=", bound) if bounds else ())))
    made.append(Figure("work that arrived meanwhile and was not done", sum(1 - one["kept"] for one in found), "==", 0))
    return made


ROWS = (
    Row("hang", "A10", 500, 1, partial(trials, scale=0.01, lanes=4), partial(figures, bounds=False)),
    Row("hang_unscaled", "A10", 25, 0, partial(trials, scale=1.0, lanes=5), partial(figures, bounds=True)),
)
