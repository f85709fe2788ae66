"""A job, driven by what the database says: people, a worker and a sweep in one process.

Whoever starts it anew after a crash goes on where the job is. Doorbells are taken from django-q2's own table as its
cluster does it, so one that was taken by a process that died is gone, and only the sweep can ring again.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from django.db import close_old_connections
from django_q.brokers.orm import ORM
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from backups.changes.moves import ChangeRefused
from backups.cleanup import shown_references, stages
from backups.clearing.rules import ClearingRefused
from backups.restores import moves as restore_moves
from kvops import clock, tasks, timing
from kvops.approvals import gate as approval_gate
from kvops.models import Person, Run
from kvops.outages import AWAY
from kvops.runs import driver as run_driver
from kvops.supervision import sweep
from tests.torture.clicks import Stuck

IDLE, LONGEST_IDLE = 0.05, 0.3
"""Seconds between two looks when there is nothing to do: the shorter ones first."""
SWEEPS = 3
"""How many times rarer than a sweep's own rounds these are, which other lanes must not starve for."""
LOAD_AGAIN = (
    stages.CleanupRefused,
    shown_references.DeployedNotKnown,
    restore_moves.RestoreRefused,
    ChangeRefused,
    ClearingRefused,
    approval_gate.ApprovalRefused,
    run_driver.AlreadyOpen,
    run_driver.NotResumable,
)
"""A person reads one of these after another was faster, or while Cloudflare is asked for the deployed code."""

ENDLESS = 20
"""How many times the longest quiet a job may last that always finds something to do."""

type Say = Callable[[str], None]


class TortureJob(ABC):
    """What is to be done until it is over. `say` is told what is being done now.

    Who is `leaving` ends what it does and begins nothing more.
    """

    def __init__(self, say: Say) -> None:
        self.leaving = False
        self._say = say
        self._next_sweep = 0.0
        self._broker = ORM(list_key="kvops")
        self._operator = Person.objects.get(email="operator@example.com")
        self._reviewer = Person.objects.get(email="reviewer@example.com")

    @abstractmethod
    def over(self) -> bool:
        """Whether nothing is left to do."""

    @abstractmethod
    def _click(self) -> bool:
        """What a person would click on now; False when there is nothing to click. Raises Stuck."""

    def run(self, quiet: float) -> None:
        """Work until everything is done. Raises Stuck, also when nothing is to be done for so many seconds."""
        begun = last = time.monotonic()
        while not (self.leaving or self.over()):
            try:
                if self._ring() or self._work() or self._click():
                    last = time.monotonic()
            except LOAD_AGAIN:
                pass
            except AWAY as error:
                print(f"The database does not answer, trying again: {error}", file=sys.stderr)
                close_old_connections()
            if time.monotonic() > min(last + quiet, begun + ENDLESS * quiet):
                raise Stuck(f"no end: {list(Run.objects.open().values_list('label', 'state', 'note'))}")
            if last < time.monotonic() - IDLE:
                time.sleep(min(LONGEST_IDLE, time.monotonic() - last))

    def _ring(self) -> bool:
        if time.monotonic() < self._next_sweep:
            return False
        self._next_sweep = time.monotonic() + SWEEPS * timing.SWEEP
        self._say("sweep")
        return sweep.sweep_once() > 0

    def _work(self) -> bool:
        """One task of the queue, as a cluster takes, executes and acknowledges it."""
        if not OrmQ.objects.filter(key="kvops", lock__lt=clock.now()).exists():
            return False
        self._say("queue")
        for ack, payload in self._broker.dequeue() or ():
            task = SignedPackage.loads(payload)
            if task["func"] == "kvops.tasks.step":
                self._say(Run.objects.values_list("kind", flat=True).get(pk=task["args"][0]))
                tasks.step(*task["args"])
            self._say("queue")
            self._broker.acknowledge(ack)
        return True
