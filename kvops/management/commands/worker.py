"""Run a qcluster and restart it when it stopped executing tasks."""

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from kvops import supervision, timing
from kvops.outages import AWAY


class Command(BaseCommand):
    help = "Executes queued work. Supervises django-q2's cluster and restarts it when it stopped executing tasks."
    _stands_in = False

    def handle(self, *args: Any, **options: Any) -> None:
        over = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            over.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        cluster = supervision.Cluster()
        cluster.start()
        try:
            while not over.wait(min(timing.SWEEP, 2.0)):
                self._look_after(cluster)
        finally:
            cluster.stop()

    def _look_after(self, cluster: supervision.Cluster) -> None:
        close_old_connections()
        try:
            supervision.beat("worker")
            trouble = cluster.trouble()
            self._look_after_sweep()
        except AWAY as error:
            self.stderr.write(f"The database does not answer, trying again: {error}")
            return
        if trouble:
            self.stderr.write(f"{trouble} It is restarted.")
            cluster.stop()
            cluster.start()

    def _look_after_sweep(self) -> None:
        before, self._stands_in = self._stands_in, supervision.stand_in()
        if self._stands_in and not before:
            self.stderr.write("The sweep is not seen; its rounds are done here until it is back.")
