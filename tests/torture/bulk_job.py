"""The bulk change job: four keys of a cache in QA get an expiration, from their choice to the end of the run.

The answer to the first write gets lost.
"""

from backups.changes.bulk import requests as bulk_requests, start as bulk_start
from backups.changes.bulk.start import BulkWish
from backups.models import BulkChange, Restore
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Namespace, Run
from tests.torture.clicks import Stuck
from tests.torture.job import TortureJob

State = Restore.State
PREFIX = "mastercache:"
WISH = BulkWish(Restore.Operation.EXPIRATION, lifetime=30 * 86_400)


def over() -> bool:
    """Whether the keys were written, and nothing is left to do."""
    return Restore.objects.filter(state=State.DONE).exists() and not Run.objects.open().exists()


class BulkJob(TortureJob):
    """People choose the keys, submit, approve and start the change; the keys are backed up in between."""

    def over(self) -> bool:
        """Whether the keys were written."""
        return over()

    def _click(self) -> bool:
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        restore = Restore.objects.first()
        if restore is None:
            self._say("prepare")
            namespace = Namespace.objects.get(environment__slug="qa", binding="SETTINGS")
            bulk_start.begin(namespace, PREFIX, BulkChange.Scope.ALL, WISH, by=self._operator)
            return True
        if restore.returned_because:
            raise Stuck(f"{restore} is {restore.state} again: {restore.returned_because}")
        match restore.state:
            case State.PREPARED:
                self._say("submit")
                bulk_requests.submit(restore, reason="they never expire", by=self._operator)
            case State.SUBMITTED:
                self._say("approve")
                asked = ApprovalRequest.objects.get(subject=f"bulkchange:{restore.pk}")
                approval_gate.approve(asked, by=self._reviewer, shown=asked.digest)
            case State.APPROVED:
                self._say("claim")
                bulk_requests.start(restore, by=self._operator)
            case _:
                return False
        return True
