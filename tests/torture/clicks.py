"""What the people of the main job would click on now, by what the database says."""

from collections.abc import Callable
from dataclasses import dataclass

from backups.cleanup import after_check, completion, stages
from backups.cleanup.references import StageReferences
from backups.models import BackupShare, CleanupRequest, CleanupStage, Restore
from backups.restores import undo as stage_undo
from kvops.models import Namespace, Run, Scan

State = CleanupStage.State


class Stuck(Exception):
    """The job cannot go on without a person who mends something."""


@dataclass(frozen=True)
class Click:
    """One click: `what` is done, by a name, on a namespace or on a stage; on neither when a clean-up is asked for."""

    what: str
    namespace: Namespace | None = None
    stage: CleanupStage | None = None


def over() -> bool:
    """Whether everything was deleted and put back, and nothing is left to do."""
    return Restore.objects.filter(state=Restore.State.DONE).exists() and not Run.objects.open().exists()


def due() -> Click | None:
    """The next click; None when there is nothing to click. Raises Stuck."""
    failed = Run.objects.failed().first()
    if failed is not None:
        raise Stuck(f"{failed} failed: {failed.error}")
    for namespace in Namespace.objects.order_by("environment__order"):
        if not Scan.objects.filter(namespace=namespace).exists():
            return Click("start-scan", namespace=namespace)
    if Run.objects.open().filter(kind=Run.Kind.SCAN).exists():
        return None
    asked = CleanupRequest.objects.first()
    if asked is None:
        return Click("request")
    stage = asked.stages.exclude(state=State.ACCEPTED).order_by("order").first()
    return _undo(asked) if stage is None else _move(stage)


def _undo(asked: CleanupRequest) -> Click | None:
    stage = asked.stages.get(environment__slug="production")
    return Click("start-undo", stage=stage) if stage_undo.undo_of(stage) is None else None


def _move(stage: CleanupStage) -> Click | None:
    if stages.busy_run(stage) or after_check.open_run(stage) or stage.state not in _MOVES:
        return None
    if stage.state in PREPARING and stage.returned_because:
        raise Stuck(f"{stage} is {stage.state} again: {stage.returned_because}")
    if stage.state == State.DELETING and not _pauses(stage.run):
        raise Stuck(f"{stage.run} is {stage.run and stage.run.state}")
    return Click(_MOVES[State(stage.state)](stage), stage=stage)


def _pauses(run: Run | None) -> bool:
    """Whether this is the deliberate pause behind production's first chunk; any other stop would be somebody's."""
    return run is not None and run.state == Run.State.STOPPED and bool(run.cursor.get("waits"))


def _unexplained(stage: CleanupStage) -> bool:
    return completion.leftovers(stage).exists() and not stage.leftovers_note


def _before_the_submit(stage: CleanupStage) -> str:
    if not StageReferences.of(stage).done:
        return "references"
    return "" if BackupShare.objects.filter(generation=stage.generation_id).exists() else "share"


PREPARING = (State.FROZEN, State.BACKED_UP, State.VERIFIED)
_MOVES: dict[State, Callable[[CleanupStage], str]] = {
    State.WAITING: lambda _: "freeze",
    **dict.fromkeys(PREPARING, lambda _: "prepare"),
    State.CHECKED: lambda stage: _before_the_submit(stage) or "submit",
    State.SUBMITTED: lambda _: "approve",
    State.APPROVED: lambda _: "claim",
    State.DELETING: lambda _: "resume",
    State.CONFIRMED: lambda stage: "explain" if _unexplained(stage) else "accept",
}
"""What is clicked on a stage in each state while nothing works on it."""
