"""Run a qcluster and restart it when its canary is late."""

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections

from kvops import supervision, timing


class Command(BaseCommand):
    help = "Executes queued work. Supervises django-q2's cluster and restarts it when it stopped executing tasks."

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
                try:
                    supervision.beat("worker")
                    healthy = cluster.healthy()
                except OperationalError as error:
                    self.stderr.write(f"The database does not answer: {error}")
                    close_old_connections()
                    continue
                if not healthy:
                    self.stderr.write("The cluster executes nothing and is restarted.")
                    cluster.stop(patience=0)
                    cluster.start()
        finally:
            cluster.stop(patience=timing.STEP + timing.REQUEST_TIMEOUT)
