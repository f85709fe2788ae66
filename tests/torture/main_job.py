"""The whole main job: scans, clean-up of QA, clean-up of production, undo of the latter.

People do nothing for a run but what the product asks of them: they let production's deletion go on after its first
chunk.
"""

from collections.abc import Callable

from backups.cleanup import completion, preparation, requests as cleanup_requests, sharing
from backups.models import CleanupStage
from backups.restores import undo as stage_undo
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Person
from kvops.runs import driver as run_driver
from tests import searched
from tests.torture import clicks
from tests.torture.job import TortureJob
from tests.torture.trial_estate import COMMIT


class MainJob(TortureJob):
    """What the people click on is told by `clicks`."""

    def over(self) -> bool:
        """Whether everything was deleted and put back."""
        return clicks.over()

    def _click(self) -> bool:
        click = clicks.due()
        if click is None:
            return False
        self._say(click.what)
        namespace, stage = click.namespace, click.stage
        if namespace is not None:
            inventory_scan.start_scan(namespace, actor=self._operator.actor, person=self._operator)
        elif stage is not None:
            _MOVES[click.what](stage, self._operator, self._reviewer)
        else:
            cleanup_requests.request(binding="SETTINGS", prefix="master:", reason="moved to D1", by=self._operator)
        return True


def _approve(stage: CleanupStage, _operator: Person, reviewer: Person) -> None:
    asked = ApprovalRequest.objects.get(cleanupstage=stage)
    approval_gate.approve(asked, by=reviewer, shown=asked.digest)


def _resume(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    assert stage.run
    run_driver.resume(stage.run, actor=operator.actor)


def _explain(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    completion.explain_leftovers(stage, note="written again by the shop", by=operator)


def _accept(stage: CleanupStage, operator: Person, _reviewer: Person) -> None:
    completion.accept_stage(stage, note="Opened the pages, all well", by=operator)


_MOVES: dict[str, Callable[[CleanupStage, Person, Person], object]] = {
    "freeze": lambda stage, operator, _: preparation.freeze_stage(stage, by=operator),
    "prepare": lambda stage, operator, _: preparation.prepare_stage(stage, by=operator),
    "references": lambda stage, _operator, _reviewer: searched.search(stage.environment, commit=COMMIT),
    "share": lambda stage, operator, _: sharing.state(stage, place="#kv-cleanup, with Reviewer", by=operator),
    "submit": lambda stage, operator, _: cleanup_requests.submit(stage, by=operator, ticked=True),
    "approve": _approve,
    "claim": lambda stage, operator, _: cleanup_requests.start_deletion(stage, by=operator),
    "resume": _resume,
    "explain": _explain,
    "accept": _accept,
    "start-undo": lambda stage, operator, _: stage_undo.start_undo(stage, by=operator),
}
"""What a click on a stage does, given the operator and the reviewer."""
