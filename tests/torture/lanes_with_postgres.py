"""Trials side by side: each lane is a program with a Postgres of its own, which may be lost and started again.

A lane is named by a class: `Lane(folder, database)` with `trial(seed, number)` and `close()`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from bench.place import ROOT
from sandbox import postgres
from tests.torture.rows import Found

type _Ended = SimpleQueue[tuple[int, Found] | None]


def trials(seed: int, numbers: Sequence[int], *, lane: str, scale: float, lanes: int) -> Iterator[tuple[int, Found]]:
    """The trials in so many lanes. Raises RuntimeError with the end of its log when a lane breaks."""
    if not numbers:
        return
    ended: _Ended = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="kvops-apart-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the account that Postgres is lent to passes through
        template = _template(folder / "template")
        shares = [share for share in (numbers[first::lanes] for first in range(lanes)) if share]
        running = [_PostgresLane(template, [lane, str(scale), str(seed), *map(str, share)], ended) for share in shares]
        try:
            for _ in numbers:
                if (one := ended.get()) is None:
                    break
                yield one
        except BaseException:
            for one_lane in running:
                one_lane.terminate()
            raise
        finally:
            for one_lane in running:
                one_lane.join()
    broken = [one_lane.said for one_lane in running if one_lane.broken]
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


class _PostgresLane:
    """One lane as a process, and the thread that hears of its trials."""

    def __init__(self, template: Path, more: Sequence[str], ended: _Ended) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lane-", dir=template.parent))
        subprocess.run(["cp", "-a", f"{template}/.", folder], check=True)
        self.said, self.broken = "", False
        self._log, self._ended = folder / "lane.log", ended
        argv = [sys.executable, "-m", "tests.torture.postgres_lane", str(folder), *more]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=log)
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
