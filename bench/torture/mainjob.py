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

from backups import cleanup, preparation, sharing, stages, undo
from backups.models import CleanupStage
from bench.torture import clicks
from bench.torture.clicks import Stuck
from kvops import approvals, clock, inventory, runs, supervision, tasks, timing
from kvops.approvals import actor_of
from kvops.models import ApprovalRequest, Person, Run

IDLE, LONGEST_IDLE = 0.05, 0.3
"""Seconds between two looks when there is nothing to do: the shorter ones first."""
SWEEPS = 3
"""How many times rarer than a sweep's own rounds these are, which other lanes must not starve for."""
LOAD_AGAIN = (stages.CleanupRefused, approvals.Refused, runs.AlreadyOpen, runs.NotResumable)
"""What a person reads who was overtaken by another."""

ENDLESS = 20
"""How many times the longest quiet a job may last that always finds something to do."""

type Say = Callable[[str], None]


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
        while not (self.leaving or clicks.over()):
            with suppress(*LOAD_AGAIN):
                if self._ring() or self._work() or self._click():
                    last = time.monotonic()
            if time.monotonic() > min(last + quiet, begun + ENDLESS * quiet):
                raise Stuck(f"no end: {list(Run.objects.open().values_list('label', 'state', 'note'))}")
            if last < time.monotonic() - IDLE:
                time.sleep(min(LONGEST_IDLE, time.monotonic() - last))

    # The worker and the sweep

    def _ring(self) -> bool:
        if time.monotonic() < self._next_sweep:
            return False
        self._next_sweep = time.monotonic() + SWEEPS * timing.SWEEP
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
        click = clicks.due()
        if click is None:
            return False
        self._say(click.what)
        namespace, stage = click.namespace, click.stage
        if namespace is not None:
            inventory.start_scan(namespace, actor=actor_of(self._operator), person=self._operator)
        elif stage is not None:
            _MOVES[click.what](stage, self._operator, self._reviewer)
        else:
            cleanup.request(binding="SETTINGS", prefix="master:", reason="moved to D1", by=self._operator)
        return True


def _references(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    searched = {"commit": "4f2a91c", "command": 'rg "master:"', "answer": "none"}
    cleanup.state_references(stage.request, **searched, hits=0, by=operator)


def _approve(stage: CleanupStage, _operator: Person, reviewer: Person) -> None:
    asked = ApprovalRequest.objects.get(cleanupstage=stage)
    approvals.approve(asked, by=reviewer, shown=asked.digest)


def _resume(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    assert stage.run
    runs.resume(stage.run, actor=actor_of(operator))


def _explain(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    cleanup.explain_leftovers(stage, note="written again by the shop", by=operator)


def _accept(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    cleanup.accept(stage, note="Opened the pages, all well", by=operator)


_MOVES: dict[str, Callable[[CleanupStage, Person, Person], object]] = {
    "freeze": lambda stage, operator, _: preparation.freeze(stage, by=operator),
    "prepare": lambda stage, operator, _: preparation.prepare(stage, by=operator),
    "references": _references,
    "share": lambda stage, operator, _: sharing.state(stage, place="#kv-cleanup, with Reviewer", by=operator),
    "submit": lambda stage, operator, _: cleanup.submit(stage, by=operator),
    "approve": _approve,
    "claim": lambda stage, operator, _: cleanup.start_deletion(stage, by=operator),
    "resume": _resume,
    "explain": _explain,
    "accept": _accept,
    "start-undo": lambda stage, operator, _: undo.start_undo(stage, by=operator),
}
"""What a click on a stage does, given the operator and the reviewer."""
