"""A clean-up up to the click that starts the deletion, by the product's own functions, and the deletion itself."""

import time

from django.db.models import F

from backups.cleanup import preparation, requests as cleanup_requests, sharing
from backups.models import CleanupStage
from bench.fakes import PREFIX
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Category, Person, Role, Run
from kvops.runs import driver as run_driver
from tests import make, searched

type Measured = dict[str, float]


def prepare() -> Measured:
    """Everything before the submit of the deletion of all keys of the namespace, which was scanned: copy, read-back."""
    # What D1 knows is another bench's business, so the keys are a cache's.
    make.change_families(category=Category.CACHE, note="for the bench")
    operator = make.person("operator", Role.OPERATOR)
    make.person("reviewer", Role.REVIEWER)
    cleanup_requests.request(binding="SETTINGS", prefix=PREFIX, reason="a measurement", by=operator)
    begun = time.perf_counter()
    names = preparation.freeze_stage(CleanupStage.objects.get(), by=operator)
    frozen = time.perf_counter() - begun
    preparation.prepare_stage(CleanupStage.objects.get(), by=operator)
    _work(CleanupStage.State.VERIFIED)
    searched.once(CleanupStage.objects.get().environment)
    sharing.state(CleanupStage.objects.get(), place="bench", by=operator)
    return {"names": names, "freeze": frozen}


def submit() -> Measured:
    """Submit the deletion and approve it, at the budget of which the reviewer is told."""
    begun = time.perf_counter()
    cleanup_requests.submit(CleanupStage.objects.get(), by=Person.objects.get(name="Operator"))
    submitted = time.perf_counter() - begun
    request = ApprovalRequest.objects.get()
    approval_gate.approve(request, by=Person.objects.get(name="Reviewer"), shown=request.digest)
    return {"seconds": submitted}


def delete() -> Measured:
    """Start the approved deletion and work until the keys are proven gone."""
    begun = time.perf_counter()
    cleanup_requests.start_deletion(CleanupStage.objects.get(), by=Person.objects.get(name="Operator"))
    _work(CleanupStage.State.CONFIRMED)
    stage = CleanupStage.objects.get()
    gaps = sorted(gap for gap in stage.chunks.values_list("gap_ms", flat=True) if gap is not None)
    return {
        "seconds": time.perf_counter() - begun,
        "deleted": stage.deleted,
        "gap_p50": gaps[len(gaps) // 2],
        "gap_p99": gaps[len(gaps) * 99 // 100],
        "gap_max": gaps[-1],
    }


def _work(until: CleanupStage.State) -> None:
    """Do what is due as a worker would, and wait for what is not yet, until the stage is there. Raises SystemExit."""
    while CleanupStage.objects.get().state != until:
        run = Run.objects.open().order_by(F("wake_at").asc(nulls_first=True)).first()
        if run is None:
            raise SystemExit([f"{run.get_kind_display()}: {run.error}" for run in Run.objects.filter(state="failed")])
        if run.wake_at is not None:
            time.sleep(max(0.0, run.wake_at.timestamp() - time.time()))
        run_driver.drive(run.pk)
