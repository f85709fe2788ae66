"""The restore job: a copy of production is put back over what is there now, from its preview to its end.

Of five keys two are gone, two hold another value, which is copied before it is overwritten, and one is as it was; or
one is gone that no bulk call can write, and four are as they were. The answer to the first write gets lost.
"""

from backups.models import Generation, Restore
from backups.restores import requests as restore_requests, selection as restore_selection
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Run
from tests.torture.clicks import Stuck
from tests.torture.job import TortureJob

State = Restore.State
PURPOSE = Generation.Purpose.ROUTINE


def over() -> bool:
    """Whether it was put back, and nothing is left to do."""
    return Restore.objects.filter(state=State.DONE).exists() and not Run.objects.open().exists()


class RestoreJob(TortureJob):
    """People prepare, submit, approve and start the restore; what would be overwritten is copied by its run."""

    def over(self) -> bool:
        """Whether it was put back."""
        return over()

    def _click(self) -> bool:
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        restore = Restore.objects.first()
        if restore is None:
            self._prepare()
            return True
        if restore.returned_because:
            raise Stuck(f"{restore} is {restore.state} again: {restore.returned_because}")
        match restore.state:
            case State.PREPARED:
                self._say("submit")
                restore_requests.submit(restore, reason="lost by mistake", by=self._operator)
            case State.SUBMITTED:
                self._say("approve")
                asked = ApprovalRequest.objects.get(subject=f"restore:{restore.pk}")
                approval_gate.approve(asked, by=self._reviewer, shown=asked.digest)
            case State.APPROVED:
                self._say("claim")
                restore_requests.start(restore, by=self._operator)
            case _:
                return False
        return True

    def _prepare(self) -> None:
        self._say("prepare")
        restore_selection.prepare_restore(
            Generation.objects.get(purpose=PURPOSE),
            on_conflict=Restore.OnConflict.OVERWRITE,
            actor=self._operator.actor,
            person=self._operator,
        )
