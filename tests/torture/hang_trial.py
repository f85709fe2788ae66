"""One trial: something is lost, and the supervision is watched from outside."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil
from django.db import connection
from django.utils import timezone

from kvops import timing
from kvops.inventory import scan as inventory_scan
from kvops.models import Heartbeat, Run
from tests import make
from tests.clusters import MANAGE, Worker, alive
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3
from tests.torture.hang import KINDS
from tests.torture.postgres_lane import LosablePostgres
from tests.torture.running import KEPT

PATIENCE = 300.0 if timing.SCALE == 1 else 90.0
"""Seconds after which something counts as never happening."""


class HangLane:
    """A worker and a sweep on a database of their own, with something to scan."""

    def __init__(self, folder: Path, database: LosablePostgres) -> None:
        self._folder, self._database = folder, database
        self._services = ExitStack()
        cloudflare, s3 = self._services.enter_context(FakeCloudflare()), self._services.enter_context(FakeS3())
        self._estate = make.estate(cloudflare, s3)
        make.policy()
        self._log = folder / "worker.log"
        self._begin()

    def _begin(self) -> None:
        self._worker = Worker(self._log)
        with (self._folder / "sweep.log").open("ab") as log:
            self._sweep = subprocess.Popen([sys.executable, str(MANAGE), "sweep"], stdout=log, stderr=log)

    def _end(self) -> None:
        self._sweep.kill()
        self._sweep.wait()
        self._worker.end()

    def close(self) -> None:
        """Leave nothing behind."""
        self._end()
        self._services.close()
        connection.close()

    def trial(self, seed: int, number: int) -> dict[str, float]:
        """Lose something. Was it noticed and cured, and after how many seconds; was what arrived meanwhile kept?"""
        chance = random.Random(f"{seed}/{number}")
        found = {"kind": float(number % len(KINDS)), "noticed": 0.0, "again": 0.0, "cured": 0.0, "kept": 0.0}
        kind = KINDS[number % len(KINDS)]
        try:
            parts = self._idle()
            time.sleep(chance.random())
            if kind == "database":
                said = self._log.stat().st_size
                meanwhile = self._scan("qa")
                time.sleep(0.1 * chance.random())
                lost, since = self._without_database(chance, said)
            else:
                said, lost = self._kill(kind, parts)
                since = lost
                meanwhile = self._scan("qa")
                self._said(said, "It is restarted")
            found["noticed"] = self._noticed_at - lost
            later = self._scan("production")
            self._until(lambda: self._done(later) and self._came_back(later))
            found.update(again=time.monotonic() - since, cured=1.0)
            self._until(lambda: self._done(meanwhile))
            found["kept"] = 1.0
        except TimeoutError as never:
            self._tell(f"{kind}.{seed}.{number}", never)
            # New processes, so that the next trial can tell something.
            self._end()
            self._begin()
        return found

    def _tell(self, trial: str, never: TimeoutError) -> None:
        """Keep what is known of a trial that did not end, for whoever looks for the reason."""
        runs = Run.objects.order_by("pk").values(
            "pk", "state", "owner", "lease_until", "task_sent_at", "starts", "error"
        )
        beats = Heartbeat.objects.order_by("at").values_list("name", "at")
        logs = [(self._folder / name).read_text("utf-8", "replace") for name in ("worker.log", "sweep.log")]
        KEPT.mkdir(exist_ok=True)
        lines = [str(never), timezone.now().isoformat(), *map(str, runs), *map(str, beats), *logs]
        (KEPT / f"hang.{timing.SCALE:g}.{trial}.log").write_text("\n".join(lines), "utf-8")

    def _idle(self) -> dict[str, psutil.Process]:
        """The processes of a cluster that came up, answered, and has nothing to do; its supervisor watches it."""
        parts: dict[str, psutil.Process] = {}
        while not parts or self._worker.parts() != parts:
            self._until(lambda: bool(self._worker.parts()), "a cluster that is up")
            parts = self._worker.parts()
            begun = max((part.create_time() for part in parts.values()), default=time.time())
            # Not any answer: until its supervisor saw one to the canary of its first look, a loss is none.
            self._until(partial(self._answered, begun), "an answer of the cluster")
            self._look()
            self._look()
            self._until(lambda: not Run.objects.open().exists(), "the end of what is under way")
        return parts

    def _answered(self, begun: float) -> bool:
        return self._beat("canary") >= self._beat("canary_sent") > begun

    def _look(self) -> None:
        """Until a look of the supervisor at its cluster begins, and with it the one before is over."""
        seen = self._beat("worker")
        self._until(lambda: self._beat("worker") > seen, "a look at the cluster")

    def _kill(self, kind: str, parts: dict[str, psutil.Process]) -> tuple[int, float]:
        """How much the worker had said by then, and when; a part that is being replaced is looked for again."""
        while True:
            said, lost = self._log.stat().st_size, time.monotonic()
            with suppress(psutil.NoSuchProcess):
                if alive(parts[kind]):
                    parts[kind].kill()
                    return said, lost
            parts = self._idle()

    def _without_database(self, chance: random.Random, said: int) -> tuple[float, float]:
        """When the database was lost, and when it was there again: up to two seconds after its loss was noticed."""
        lost = time.monotonic()
        self._database.lose(violently=chance.random() < 0.5)
        connection.close()
        try:
            self._said(said, "does not answer")
            time.sleep(2 * chance.random())
        finally:
            self._database.start()
        return lost, time.monotonic()

    def _said(self, before: int, words: str) -> None:
        """Until the worker said so."""
        self._until(lambda: words in self._log.read_bytes()[before:].decode("utf-8", "replace"), words)
        self._noticed_at = time.monotonic()

    def _scan(self, slug: str) -> Run:
        return inventory_scan.start_scan(getattr(self._estate, slug), actor=make.SETUP).run

    def _done(self, run: Run) -> bool:
        return Run.objects.filter(pk=run.pk, state=Run.State.SUCCEEDED).exists()

    def _came_back(self, run: Run) -> bool:
        """Whether a task was sent through the whole cluster since the run was created."""
        return Heartbeat.objects.of("canary").filter(at__gt=run.created_at).exists()

    def _beat(self, name: str) -> float:
        found = Heartbeat.objects.of(name).order_by("-at").first()
        return found.at.timestamp() if found else 0.0

    def _until(self, met: Callable[[], bool], what: str = "tasks are executed") -> None:
        end = time.monotonic() + PATIENCE
        while not met():
            if time.monotonic() > end:
                raise TimeoutError(f"Never: {what}.")
            time.sleep(0.02)
