"""Run a qcluster and restart it if it stops executing tasks."""

import logging
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from kvops import timing
from kvops.connections import onepassword
from kvops.outages import AWAY
from kvops.supervision import cluster as worker_cluster, heartbeats, sweep

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Executes queued work. Supervises django-q2's cluster and restarts it when it stopped executing tasks."
    _stands_in = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._over = threading.Event()

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.REVIEW_IDENTITY:
            raise CommandError("KVOPS_REVIEW_IDENTITY is for the web server: take it from the worker.")

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._over.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        cluster = worker_cluster.Cluster()
        cluster.start()
        try:
            while not self._over.wait(min(timing.SWEEP, 2.0)):
                self._look_after(cluster)
        finally:
            cluster.stop()
            with suppress(*AWAY):
                heartbeats.leave()

    def _look_after(self, cluster: worker_cluster.Cluster) -> None:
        close_old_connections()
        trouble = ""
        try:
            heartbeats.beat_worker()
            if onepassword.is_set_up():
                heartbeats.beat("onepassword")
            trouble = cluster.trouble()
            self._look_after_sweep()
        except AWAY as error:
            logger.warning("The database does not answer, trying again: %s", error)
        # Restart also if the database went away, or a round failed, after the trouble was found: no later check finds
        # it again.
        if trouble:
            logger.error("%s It is restarted.", trouble)
            cluster.stop(self._meanwhile)
            if not self._over.is_set():
                cluster.start()
                with suppress(*AWAY):
                    heartbeats.doubt()

    def _meanwhile(self) -> None:
        """While a stopping cluster ends its last steps, keep this process's heartbeat and the sweep's rounds going."""
        if self._over.is_set():
            return
        close_old_connections()
        with suppress(*AWAY):
            heartbeats.beat_worker()
            self._look_after_sweep()

    def _look_after_sweep(self) -> None:
        before, self._stands_in = self._stands_in, sweep.stand_in()
        if self._stands_in and not before:
            logger.warning("The sweep is not seen; its rounds are done here until it is back.")
