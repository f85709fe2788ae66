"""Where the rows about deletions work: a clock that moves over the waits, and one clean-up of QA after the other."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from django.db.models import F
from django_q.models import OrmQ

from backups.cleanup import completion, preparation, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.deletion import late_check
from backups.models import CleanupRequest, CleanupStage, Generation
from kvops import clock
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.past import Remembering
from tests.torture import empty_estate, movable_clock

State = CleanupStage.State
UNSCALED = {
    "SETTLE": 60.0,
    "STALE": 300.0,
    "LATE_CHECK": 86400.0,
    "RETRY": 15.0,
    "STEP": 30.0,
}
"""Waits as in production: the clock is moved over them."""
LIMITED = "Waiting for Cloudflare's request limit."


class CleanupGround:
    """QA with a namespace that remembers, and its people. The family `mastercache:` needs no D1."""

    def __init__(self, estate: make.Estate, moving: movable_clock.MovableClock) -> None:
        self.estate, self.clock, self.people = estate, moving, make.everybody()
        self.cloudflare = estate.cloudflare
        self.cloudflare.clock = self.cloudflare.dates = estate.s3.dates = moving.time
        self.between: Callable[[float], None] = lambda _seconds: None
        self.limited = 0

    def begin(self, *, read: str = "bulk") -> None:
        """An empty namespace, nothing asked yet, nothing spent."""
        empty_estate.fresh_budget()
        self.cloudflare.forget()
        self.between, self.limited = lambda _seconds: None, 0
        qa = self.estate.qa
        self.cloudflare.add_remembering(qa.environment.account_id, qa.namespace_id, qa.title)
        make.change_families("mastercache:", read=read)

    def work(self, *, late: bool = True) -> None:
        """Do what is due, moving the clock over every wait, until nothing is open; late checks only on demand.

        Work that never ends is ended with its test.
        """
        while True:
            OrmQ.objects.all().delete()
            open_ = Run.objects.open().filter(foreground=False)
            if not late:
                open_ = open_.exclude(kind=Run.Kind.LATE_CHECK)
            first = open_.order_by(F("wake_at").asc(nulls_first=True), "pk").first()
            if first is None:
                return
            if first.wake_at is not None and (wait := clock.seconds_until(first.wake_at)) > 0:
                self.clock.move(wait + 0.01)
                self.between(wait)
                self.limited += first.note == LIMITED
            run_driver.drive(first.pk)
            self.between(0.0)

    def approved(self, tries: int = 6, *, prefix: str = "mastercache:") -> CleanupStage | None:
        """A stage of the keys there are, approved; None when their copy is never whole because somebody deletes."""
        self.request = cleanup_requests.request(
            binding="SETTINGS", prefix=prefix, reason="a trial of torture", by=self.people.operator
        )
        searched.once(self.estate.qa.environment, self.estate.production.environment)
        for _ in range(tries):
            inventory_scan.start_scan(self.estate.qa, actor=make.SETUP)
            self.work(late=False)
            preparation.freeze_stage(self.stage, by=self.people.operator)
            preparation.prepare_stage(self.stage, by=self.people.operator)
            self.work(late=False)
            if self.stage.state == State.VERIFIED:
                cleanup_helpers.share(self.stage, self.people)
                approval = cleanup_requests.submit(self.stage, by=self.people.operator)
                approval_gate.approve(approval, by=self.people.reviewer, shown=approval.digest)
                return self.stage
        return None

    @property
    def kv(self) -> Remembering:
        """The namespace of QA, past the product."""
        found = self.cloudflare.namespace(self.estate.qa.namespace_id)
        if not isinstance(found, Remembering):
            raise TypeError(found)
        return found

    @property
    def stage(self) -> CleanupStage:
        """The stage of QA as it is now."""
        related = ("request__family", "environment", "namespace", "generation")
        return CleanupStage.objects.select_related(*related).get(request=self.request, order=1)

    @property
    def backup(self) -> Generation:
        """The stage's copy."""
        return Generation.objects.select_related("environment", "namespace").get(stages=self.stage)

    def deleted(self, *, resumes: int = 3) -> None:
        """Start the deletion and see it through, with its proof; what failed is tried again so often."""
        cleanup_requests.start_deletion(self.stage, by=self.people.operator)
        for _ in range(resumes + 1):
            self.work(late=False)
            failed = Run.objects.filter(subject=f"stage:{self.stage.pk}", state__in=Run.RESUMABLE).first()
            if failed is None:
                return
            run_driver.resume(failed, actor=self.people.operator.actor)

    def close(self) -> None:
        """Accept the stage, so that the next clean-up may be asked for; one that proves nothing must be refused."""
        stage = self.stage
        if stage.state == State.CONFIRMED:
            if completion.leftovers(stage).exists():
                completion.explain_leftovers(stage, note="a trial of torture", by=self.people.operator)
            if completion.unexplained_others(stage):
                completion.explain_others(stage, note="a trial of torture", by=self.people.operator)
            if stage.reappearances.unseen().exists():
                late_check.acknowledge_reappearances(
                    stage, note="a trial of torture", last=10**12, by=self.people.operator
                )
            self._accept(stage)
        completion.end(
            CleanupRequest.objects.get(pk=self.request.pk), reason="a trial of torture", by=self.people.operator
        )

    def _accept(self, stage: CleanupStage) -> None:
        nothing = not stage.deleted or stage.undos.exists() or stage.restores.exists()
        try:
            completion.accept_stage(stage, note="a trial of torture", by=self.people.operator)
        except CleanupRefused as refused:
            if not nothing or "proves nothing" not in str(refused):
                raise
        else:
            if nothing:
                raise AssertionError(f"{stage} was accepted, though it proves nothing.")


@contextmanager
def ground() -> Iterator[CleanupGround]:
    """An estate with the waits of production and a clock that moves over them."""
    with ExitStack() as stack:
        for name, seconds in UNSCALED.items():
            stack.enter_context(patch(f"kvops.timing.{name}", seconds))
        estate = stack.enter_context(empty_estate.estate())
        yield CleanupGround(estate, stack.enter_context(movable_clock.clock()))


def rng_of(row: str, seed: int, number: int) -> random.Random:
    """Chance as the trial's number tells it."""
    return random.Random(f"{row}:{seed}:{number}")
