"""Wake due runs, take over lost ones, close expired requests, tell of a worker that is gone. A process of its own."""

import logging
import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from kvops import timing
from kvops.outages import AWAY
from kvops.runs import sweeping
from kvops.supervision import outage, sweep
from kvops.wording import several

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Wakes and rescues runs, closes expired approvals. Runs until it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            if woken := sweep.sweep_once():
                self.stdout.write(f"woke {several(woken, 'run')}")
            return
        over = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            over.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        watch = outage.Watch()
        while not over.is_set():
            close_old_connections()
            pause = timing.SWEEP
            try:
                if woken := sweep.sweep_once():
                    logger.info("Woke %s.", several(woken, "run"))
                watch.look()
                pause = sweeping.seconds_to_next()
            except AWAY as error:
                logger.warning("The database does not answer, trying again: %s", error)
            over.wait(pause)
