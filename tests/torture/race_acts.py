"""What the row `races` lets happen at once to one stage: how far it is by then, and the acts."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from unittest.mock import patch

from django.db import IntegrityError
from django.db.models.functions import Now
from django.db.transaction import atomic

from backups.cleanup import requests as cleanup_requests
from backups.deletion import chunks
from backups.models import CleanupEntry, CleanupStage
from kvops import clock, timing
from kvops.approvals import evidence, gate as approval_gate
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.runs import driver as run_driver, emergency, lease as run_lease
from tests import make
from tests.gate import world as gate


class NotDone(Exception):
    """The act was refused, by the database itself or by saying that there is nothing to do."""


@dataclass
class RaceGround:
    """The estate and its people, with the stage that all trials are about."""

    estate: make.Estate
    people: make.People
    reviewer2: Person
    stage: CleanupStage
    rng: random.Random = field(default_factory=random.Random)

    @property
    def operators(self) -> tuple[Person, Person]:
        """Two who may ask, start and stop."""
        return self.people.operator, self.people.operator2

    def now(self) -> CleanupStage:
        """The stage as it is now."""
        return gate.stage_of(self.stage.request)

    def asked(self) -> ApprovalRequest:
        """The newest request for a decision on it."""
        return ApprovalRequest.objects.filter(subject=f"stage:{self.stage.pk}").latest("pk")

    def run(self) -> Run:
        """Its deletion."""
        return Run.objects.get(approval=self.asked())


type Act = Callable[[RaceGround], Callable[[], object]]
"""Made ready, with all that a page would have loaded, and then done."""


# How far the stage is


def checked(_ground: RaceGround) -> None:
    """Nobody asked yet; a trial begins like this."""


def submitted(ground: RaceGround) -> None:
    """A request waits for a decision."""
    cleanup_requests.submit(ground.now(), by=ground.operators[0])


def approve(ground: RaceGround) -> None:
    """The reviewer says yes."""
    asked = ground.asked()
    approval_gate.approve(asked, by=ground.people.reviewer, shown=asked.digest)


def approved(ground: RaceGround) -> None:
    """The reviewer said yes."""
    submitted(ground)
    approve(ground)


def about_to_run_out(ground: RaceGround) -> None:
    """The reviewer said yes, and the time to use it is almost over."""
    submitted(ground)
    with patch.object(timing, "USE_WITHIN", ground.rng.uniform(0.01, 0.2)):
        approve(ground)


def started(ground: RaceGround) -> None:
    """The deletion is queued, as if D1 had been checked just now."""
    approved(ground)
    to_the_first_chunk(cleanup_requests.start_deletion(ground.now(), by=ground.operators[0]))


def stopped(ground: RaceGround) -> None:
    """The deletion was stopped before it sent anything."""
    started(ground)
    run_driver.request_stop(ground.run(), actor=make.SETUP)
    run_driver.drive(ground.run().pk)


def to_the_first_chunk(run: Run) -> None:
    """As if D1 had been checked just now."""
    Run.objects.filter(pk=run.pk).update(cursor={"phase": "delete", "checked_at": clock.now().isoformat()})


# The acts


def decide(side: int, yes: bool) -> Act:
    """Approve or reject what the page showed."""

    def ready(ground: RaceGround) -> Callable[[], object]:
        asked, by = ground.asked(), (ground.people.reviewer, ground.reviewer2)[side]
        act = approval_gate.approve if yes else approval_gate.reject
        return lambda: act(asked, by=by, shown=asked.digest, reason="it has to be so")

    return ready


def withdraw(ground: RaceGround) -> Callable[[], object]:
    """Take the request back."""
    asked = ground.asked()
    return lambda: approval_gate.withdraw(asked, by=ground.operators[1])


def expire(_ground: RaceGround) -> Callable[[], object]:
    """The sweep closes what is over."""

    def act() -> None:
        if not approval_gate.expire():
            raise NotDone

    return act


def edit(ground: RaceGround) -> Callable[[], object]:
    """Change what is being decided on, by SQL."""
    asked, other = ground.asked(), evidence.digest_of("{}")
    request, name = ApprovalRequest.objects.filter(pk=asked.pk), CleanupEntry.objects.filter(stage=ground.stage)
    edits: list[Callable[[], object]] = [
        lambda: request.update(evidence="{}", digest=other),
        lambda: request.update(title="another"),
        lambda: request.update(requester=ground.operators[1]),
        lambda: request.update(decide_by=Now() + timedelta(days=9)),
        lambda: name.filter(index=1).update(name="system-root"),
        lambda: name.filter(index=2).delete(),
    ]
    return _by_sql(ground.rng.choice(edits))


def _by_sql(change: Callable[[], object]) -> Callable[[], object]:
    def act() -> None:
        try:
            with atomic():
                change()
        except IntegrityError as refused:
            raise NotDone from refused

    return act


def submit(side: int) -> Act:
    """Ask for a decision."""

    def ready(ground: RaceGround) -> Callable[[], object]:
        stage, by = ground.now(), ground.operators[side]
        return lambda: cleanup_requests.submit(stage, by=by)

    return ready


def start(side: int) -> Act:
    """Start the deletion."""

    def ready(ground: RaceGround) -> Callable[[], object]:
        stage, by = ground.now(), ground.operators[side]
        return lambda: cleanup_requests.start_deletion(stage, by=by)

    return ready


def replace_the_policy(_ground: RaceGround) -> Callable[[], object]:
    """Another policy comes into force."""
    return make.another_policy


def revoke(ground: RaceGround) -> Callable[[], object]:
    """Whoever approved is no reviewer any more."""
    return lambda: make.revoke(ground.people.reviewer, Role.REVIEWER)


def press(ground: RaceGround) -> Callable[[], object]:
    """The emergency stop."""
    environment, by = ground.stage.environment, ground.operators[1]
    return lambda: emergency.press(environment, by=by, reason="wait for the others")


def ask_to_stop(ground: RaceGround) -> Callable[[], object]:
    """Stop the run."""
    run, actor = ground.run(), ground.operators[1].actor
    return lambda: run_driver.request_stop(run, actor=actor)


def resume(side: int) -> Act:
    """Let the run go on."""

    def ready(ground: RaceGround) -> Callable[[], object]:
        run, actor = ground.run(), ground.operators[side].actor
        return lambda: run_driver.resume(run, actor=actor)

    return ready


def end_early(ground: RaceGround) -> Callable[[], object]:
    """Send nothing more."""
    stage, by = ground.now(), ground.operators[1]
    return lambda: chunks.end_early(stage, by=by)


def send(ground: RaceGround) -> Callable[[], object]:
    """A worker sends the chunk."""
    run = ground.run()
    return lambda: run_driver.drive(run.pk)


def take(ground: RaceGround) -> Callable[[], object]:
    """A worker wants the run."""
    run = ground.run()

    def act() -> None:
        if run_lease.take(run.pk) is None:
            raise NotDone

    return act
