"""Wake due runs, take over lost ones, close what expired, send the canary. A process of its own."""

import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand
from django.db import OperationalError, close_old_connections

from kvops import supervision, timing


class Command(BaseCommand):
    help = "Wakes and rescues runs, closes expired approvals, watches the worker. Runs until it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        over = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            over.set()

        if not options["once"]:
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
        while not over.is_set():
            try:
                rung = supervision.sweep_once()
                if rung:
                    self.stdout.write(f"woke {rung} runs")
            except OperationalError as error:
                if options["once"]:
                    raise
                self.stderr.write(f"The database does not answer, trying again: {error}")
                close_old_connections()
            if options["once"]:
                return
            over.wait(timing.SWEEP)
