"""Knowing that the cluster works, and curing it when it stopped.

Killing an idle worker of django-q2 silently stops the whole cluster (django-q2 issue 23), so a canary task is
sent through it all the time, and `worker` restarts the cluster when the canary is late.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from datetime import datetime

import psutil
from django.db import connection, transaction
from django.db.models.functions import Now

from kvops import approvals, queue, runs, timing
from kvops.models import Heartbeat

logger = logging.getLogger(__name__)


def beat(name: str) -> None:
    """Note that the process or task `name` is alive, by the database's clock."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": Now()}, create_defaults={"at": Now()})


def last_beat(name: str) -> datetime | None:
    """When `name` was last alive."""
    return Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()


def age(name: str) -> float | None:
    """Seconds since `name` was last alive, None when it never was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - at) FROM kvops_heartbeat WHERE name = %s", [name])
        row = cursor.fetchone()
    return float(row[0]) if row else None


def sweep_once() -> int:
    """One round: ring due runs, close the expired and the abandoned, send the canary. Returns how many runs were rung."""
    rung = runs.ring()
    runs.close_abandoned()
    approvals.expire()
    sent = age("canary_sent")
    if sent is None or sent >= timing.CANARY:
        with transaction.atomic():
            beat("canary_sent")
            queue.enqueue("kvops.tasks.canary", 0)
    beat("sweep")
    return rung


class Cluster:
    """One qcluster as a child process in its own group, so that it can be ended with everything it forked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self) -> None:
        """Start it; the clock for the first canary starts too."""
        self._process = subprocess.Popen([sys.executable, "manage.py", "qcluster"], start_new_session=True)
        self._started = time.monotonic()

    def healthy(self) -> bool:
        """Whether it runs and executed a canary lately, or was started too recently to tell."""
        if self._process is None or self._process.poll() is not None:
            return False
        young = time.monotonic() - self._started < timing.CANARY_LATE
        late = age("canary")
        return young or (late is not None and late < timing.CANARY_LATE)

    def stop(self, patience: float) -> None:
        """Ask the main process to finish what it does; after `patience` seconds end the whole tree."""
        process = self._process
        if process is None:
            return
        tree = _tree(process.pid)
        if process.poll() is None and patience > 0:
            # Only the main process: a signal to the group makes django-q2 hang.
            os.kill(process.pid, signal.SIGTERM)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                logger.warning("The cluster did not stop within %.0f s and is ended.", patience)
        for child in (*tree, *_tree(process.pid)):
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        self._process = None


def _tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []
