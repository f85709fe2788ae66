"""Supervision of the cluster, with a restart if it stops executing tasks.

Killing an idle worker of django-q2 stops the whole cluster silently (django-q2 issue 23): it held the lock of the
queue. All workers read that queue, so its replacement waits too. Killing its monitor makes it forget every result. So
`worker` restarts the cluster, after the steps under way, in two cases. One of its processes is gone, which is noticed
within 2 seconds. Or a canary is on its way, no step renews its lease, and nothing has come back for 80 seconds,
measured by the database's clock; so a cluster that hangs is replaced within two minutes. A cluster that is coming up
has 3 minutes for its first task. Each start without one doubles that, up to 15 minutes, because a busy machine would
never get there otherwise. Each cluster has its own canary, so workers on several hosts do not disturb each other. The
process that sends the canary also checks for it, so a canary that was never sent raises no alarm.

A worker process ends by itself after 200 tasks (`recycle`) or above 600 MB (`max_rss`). It reports that through a pipe
as its last act, so it is replaced and not counted as lost. `worker` also does the rounds of a sweep that has not been
seen for 35 seconds, also while steps end. If `worker` itself is killed, the kernel tells its cluster, which ends its
steps. Remains of a cluster that was damaged before are ended by systemd or Docker with the service.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from io import FileIO
from multiprocessing.util import Finalize

import psutil
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.dispatch import receiver
from django_q.signals import post_spawn

from kvops import clock, env, queue, timing
from kvops.models import Run
from kvops.outages import AWAY
from kvops.runs import lease as run_lease
from kvops.supervision import heartbeats

logger = logging.getLogger(__name__)

PATIENCE = timing.PART + timing.REQUEST_TIMEOUT
"""Seconds. The longest duration of a step: within it every step has ended."""
GRACE = min(2 * timing.STEP, 4.0)
"""Seconds. The longest time an idle cluster may take to end. Then its processes are killed, which loses nothing."""
_ENDED = "KVOPS_ENDED_TO"
"""Environment variable: the file descriptor of the pipe into which each worker writes its own pid as it ends."""
_PR_SET_PDEATHSIG = 1


def send_canary() -> None:
    """Send a canary through this worker's cluster. It replaces a waiting canary, so there is never more than one."""
    with transaction.atomic():
        # First, because the lock on this row admits one sender at a time.
        heartbeats.beat("canary_sent")
        queue.send_canary()


def canary_waits_since() -> datetime | None:
    """The time when the canary was sent; None if it, or any task since, came back."""
    sent, back = heartbeats.mine("canary_sent"), heartbeats.mine("canary")
    return None if sent is None or (back is not None and back >= sent) else sent


class Cluster:
    """One qcluster as a child process in its own process group, so that all its forked processes can be ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._parts: set[int] = set()
        self._told: FileIO | None = None
        self._ended: set[int] = set()
        self._probed = False
        self._doubted = False
        self._up = False
        self._answered = True
        self._coming_up = timing.COMING_UP

    def start(self) -> None:
        """Start the cluster. The first `trouble()` sends its first canary."""
        longer = min(2 * self._coming_up, timing.LONGEST_COMING_UP)
        self._coming_up = timing.COMING_UP if self._answered else longer
        self._probed = self._doubted = self._up = self._answered = False
        self._ended = set()
        told, tell = os.pipe()
        # Non-blocking: a worker that cannot report its end must end all the same. The cluster is then restarted.
        for end in (told, tell):
            os.set_blocking(end, False)
        self._told = FileIO(told)
        self._process = subprocess.Popen(  # noqa: S603 - our own words only
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
            start_new_session=True,
            env=os.environ | env.WORKER | {_ENDED: str(tell), queue.CLUSTER_OF: queue.worker()},
            pass_fds=(tell,),
            # Safe, because `worker` has no threads.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
        os.close(tell)

    def trouble(self) -> str:
        """The reason for a restart, in one sentence; empty if the cluster works. Sends the canary if it is due."""
        if self._process is None or self._process.poll() is not None:
            return "The cluster ended by itself."
        before, self._parts = self._parts, _forked_by(self._process.pid)
        # Only after the first answer: short-lived processes come and go while the cluster starts.
        if (lost := len(before - self._parts - self._ends())) and self._up:
            return f"The cluster lost {lost} of its processes."
        # Before the first answer, no answer counts for a canary sent before the loss.
        self._doubted = self._doubted or lost > 0
        if not self._probed:
            send_canary()
            self._probed, self._doubted = True, False
        since = canary_waits_since()
        if since is not None:
            return self._silent(-clock.seconds_until(since))
        self._answered = True
        sent = heartbeats.mine("canary_sent")
        if self._doubted or sent is None or -clock.seconds_until(sent) >= timing.CANARY:
            send_canary()
        self._up, self._doubted = not self._doubted, False
        return ""

    def _ends(self) -> set[int]:
        """The workers that reported their own end. List the processes first: a worker reports before it is gone."""
        told = self._told.read() if self._told else None
        self._ended |= set(map(int, (told or b"").split()))
        ended, self._ended = self._ended, self._ended & self._parts
        return ended

    def _silent(self, waited: float) -> str:
        patience = timing.HANGS if self._answered else self._coming_up
        # While all workers are in long steps no task comes back, but every step ends.
        if waited < patience or (waited < patience + PATIENCE and self._runs().exists()):
            return ""
        return f"The cluster executed nothing for {waited:.0f} s."

    def _runs(self) -> QuerySet[Run]:
        """The runs that the cluster's processes hold. A process that did not renew its lease for long hangs."""
        host = run_lease.worker_name().rpartition(":")[0]
        owners = [f"{host}:{pid}" for pid in self._parts]
        left = timedelta(seconds=max(timing.LEASE - timing.HANGS, 0.0))
        return Run.objects.filter(state=Run.State.RUNNING, owner__in=owners, lease_until__gt=Now() + left)

    def stop(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let the steps under way end, then end every process of the cluster, even if it hangs.

        While it waits for the steps, up to `PATIENCE`, it calls `meanwhile` about twice a second.
        """
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            self._parts = _forked_by(process.pid)
            # Only the main process: a SIGTERM to the whole group makes django-q2 hang.
            process.terminate()
            self._wait(process, meanwhile)
        # If the main process lost the others, the group outlives it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        if self._told is not None:
            self._told.close()

    def _wait(self, process: subprocess.Popen[bytes], meanwhile: Callable[[], None]) -> None:
        start = idle_since = time.monotonic()
        waited_for: set[int] = set()
        under_way: list[Run] = []
        while time.monotonic() < min(idle_since + GRACE, start + PATIENCE):
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE / 10)
                return
            meanwhile()
            under_way = []
            # Without the database no step can commit its work, so there is nothing to wait for.
            with suppress(*AWAY):
                under_way = list(self._runs())
                for run in under_way:
                    idle_since = time.monotonic()
                    if run.pk not in waited_for:
                        waited_for.add(run.pk)
                        logger.info("Waiting for a step of run %s (%s), at most %.0f s.", run.pk, run.kind, PATIENCE)
        waited = time.monotonic() - start
        for run in under_way:
            logger.warning("The step of run %s (%s) is ended after %.0f s.", run.pk, run.kind, waited)
        if not under_way:
            logger.info("No step is under way; the rest of the cluster is ended after %.0f s.", waited)


def _forked_by(pid: int) -> set[int]:
    """The live processes of a qcluster: the sentinel and the workers, monitor and pusher below it."""
    with suppress(psutil.NoSuchProcess):
        sentinels = psutil.Process(pid).children()
        return {process.pid for one in sentinels for process in (one, *one.children()) if _lives(process)}
    return set()


def _lives(process: psutil.Process) -> bool:
    """Whether the process is more than a zombie. A hanging sentinel does not reap the processes killed below it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@receiver(post_spawn)
def _begin(**_: object) -> None:
    """Let a worker of the cluster report its own end to `worker`. Runs before its first task."""
    if tell := os.environ.get(_ENDED):
        # A killed process does not run this. It runs last: multiprocessing hands over the results at -5.
        Finalize(None, _tell, (int(tell),), exitpriority=-10)


def _tell(tell: int) -> None:
    with suppress(OSError):
        os.write(tell, f"{os.getpid()}\n".encode())


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM if `worker` dies without stopping it. Runs in the cluster before it starts."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
