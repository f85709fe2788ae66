"""The whole main job, driven by what the database says: people, a worker and a sweep in one process.

Whoever starts it anew after a crash goes on where the job is. Doorbells are taken from django-q2's own table as its
cluster does it, so one that was taken by a process that died is gone, and only the sweep can ring again. People do
nothing for a run but what the product asks of them: they let production's deletion go on after its first chunk.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from django_q.brokers.orm import ORM
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from backups import cleanup, preparation, stages, undo
from backups.models import CleanupRequest, CleanupStage, Restore
from kvops import approvals, clock, inventory, runs, supervision, tasks
from kvops.approvals import actor_of
from kvops.models import ApprovalRequest, Namespace, Person, Run, Scan

State = CleanupStage.State
PAUSED = "first-chunk"
IDLE = 0.05
"""Seconds between two looks when there is nothing to do."""
SWEEP = 0.15
"""Seconds between two rounds of the sweep."""

LOAD_AGAIN = (stages.CleanupRefused, approvals.Refused, runs.AlreadyOpen, runs.NotResumable)
"""What a person reads who was overtaken by another."""

ENDLESS = 20
"""How many times the longest quiet a job may last that always finds something to do."""

type Say = Callable[[str], None]


class Stuck(Exception):
    """The job cannot go on without a person who mends something."""


class MainJob:
    """Scans, clean-up of QA, clean-up of production, undo of the latter. `say` is told what is being done now.

    Who is `leaving` ends what it does and begins nothing more.
    """

    def __init__(self, say: Say) -> None:
        self.leaving = False
        self._say = say
        self._next_sweep = 0.0
        self._broker = ORM(list_key="kvops")
        self._operator = Person.objects.get(email="operator@example.com")
        self._reviewer = Person.objects.get(email="reviewer@example.com")

    def run(self, quiet: float) -> None:
        """Work until everything is done. Raises Stuck, also when nothing is to be done for so many seconds."""
        begun = last = time.monotonic()
        while not (self.leaving or self.done()):
            with suppress(*LOAD_AGAIN):
                if self._ring() or self._work() or self._click():
                    last = time.monotonic()
            if time.monotonic() > min(last + quiet, begun + ENDLESS * quiet):
                raise Stuck(f"no end: {list(Run.objects.open().values_list('label', 'state', 'note'))}")
            if last < time.monotonic() - IDLE:
                time.sleep(IDLE)

    def done(self) -> bool:
        """Whether everything was deleted and put back, and nothing is left to do."""
        return Restore.objects.filter(state=Restore.State.DONE).exists() and not Run.objects.open().exists()

    # The worker and the sweep

    def _ring(self) -> bool:
        if time.monotonic() < self._next_sweep:
            return False
        self._next_sweep = time.monotonic() + SWEEP
        self._say("sweep")
        return supervision.sweep_once() > 0

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

    # The people

    def _click(self) -> bool:
        """What a person would click on now; False when there is nothing to click."""
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        for namespace in Namespace.objects.order_by("environment__order"):
            if not Scan.objects.filter(namespace=namespace).exists():
                self._say("start-scan")
                inventory.start_scan(namespace, actor=actor_of(self._operator), person=self._operator)
                return True
        if Run.objects.open().filter(kind=Run.Kind.SCAN).exists():
            return False
        asked = CleanupRequest.objects.first()
        if asked is None:
            self._say("request")
            cleanup.request(binding="SETTINGS", prefix="master:", reason="moved to D1", by=self._operator)
            return True
        stage = asked.stages.exclude(state=State.ACCEPTED).order_by("order").first()
        return self._undo(asked) if stage is None else self._move(stage)

    def _undo(self, asked: CleanupRequest) -> bool:
        stage = asked.stages.get(environment__slug="production")
        if undo.undo_of(stage) is not None:
            return False
        self._say("start-undo")
        undo.start_undo(stage, by=self._operator)
        return True

    def _move(self, stage: CleanupStage) -> bool:
        """The next click on a stage."""
        if stages.busy_run(stage) is not None:
            return False
        move = {
            State.WAITING: self._freeze,
            State.FROZEN: self._prepare,
            State.BACKED_UP: self._prepare,
            State.VERIFIED: self._prepare,
            State.CHECKED: self._submit,
            State.SUBMITTED: self._approve,
            State.APPROVED: self._start,
            State.DELETING: self._go_on,
            State.CONFIRMED: self._accept,
        }.get(State(stage.state))
        if move is None:
            return False
        move(stage)
        return True

    def _freeze(self, stage: CleanupStage) -> None:
        self._say("freeze")
        preparation.freeze(stage, by=self._operator)

    def _prepare(self, stage: CleanupStage) -> None:
        if stage.returned_because:
            raise Stuck(f"{stage} is {stage.state} again: {stage.returned_because}")
        self._say("prepare")
        preparation.prepare(stage, by=self._operator)

    def _submit(self, stage: CleanupStage) -> None:
        if stage.request.references is None:
            self._say("references")
            cleanup.state_references(
                stage.request, commit="4f2a91c", command='rg "master:"', hits=0, answer="none", by=self._operator
            )
        self._say("submit")
        cleanup.submit(stage, by=self._operator)

    def _approve(self, stage: CleanupStage) -> None:
        self._say("approve")
        asked = ApprovalRequest.objects.get(cleanupstage=stage)
        approvals.approve(asked, by=self._reviewer, shown=asked.digest)

    def _start(self, stage: CleanupStage) -> None:
        self._say("claim")
        cleanup.start_deletion(stage, by=self._operator)

    def _go_on(self, stage: CleanupStage) -> None:
        """The deliberate pause behind production's first chunk; any other stop would have to be somebody's."""
        run = stage.run
        if run is None or run.state != Run.State.STOPPED or not run.cursor.get("waits"):
            raise Stuck(f"{run} is {run and run.state}")
        self._say("resume")
        runs.resume(run, actor=actor_of(self._operator))

    def _accept(self, stage: CleanupStage) -> None:
        if cleanup.leftovers(stage).exists() and not stage.leftovers_note:
            self._say("explain")
            cleanup.explain_leftovers(stage, note="written again by the shop", by=self._operator)
        self._say("accept")
        cleanup.accept(stage, note="Opened the pages, all well", by=self._operator)
