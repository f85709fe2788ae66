"""The clear job: keys of a cache are cleared under the standing approval of a rule, from the scan to the acceptance.

One key expires by itself and stays. The answer to the first delete gets lost.
"""

from backups.clearing import requests as clearing_requests, rounds
from backups.models import Clearing, ClearingRound
from kvops.approvals import gate as approval_gate
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Family, Namespace, Run, Scan
from tests.backups.clearing.helpers import WITHOUT
from tests.torture.clicks import Stuck
from tests.torture.job import TortureJob

PREFIX = "mastercache:old:"


def over() -> bool:
    """Whether the round was accepted, and nothing is left to do."""
    return ClearingRound.objects.filter(accepted_at__isnull=False).exists() and not Run.objects.open().exists()


class ClearJob(TortureJob):
    """People scan, make the rule, approve it, start its round and accept it."""

    def over(self) -> bool:
        """Whether the keys were cleared."""
        return over()

    def _click(self) -> bool:
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        namespace = Namespace.objects.get(environment__slug="qa", binding="SETTINGS")
        clearing = Clearing.objects.first()
        if not Scan.objects.filter(namespace=namespace).exists():
            self._say("start-scan")
            inventory_scan.start_scan(namespace, actor=self._operator.actor, person=self._operator)
        elif Run.objects.open().filter(kind=Run.Kind.SCAN).exists():
            return False
        elif clearing is None:
            self._make(namespace)
        else:
            return self._lead(clearing)
        return True

    def _make(self, namespace: Namespace) -> None:
        self._say("rule")
        clearing_requests.create(
            namespace,
            family=Family.objects.get(pattern="mastercache:"),
            prefix=PREFIX,
            only=WITHOUT,
            cap=100,
            expression="0 3 1 1 *",
            zone="Asia/Tokyo",
            reason="Pages of an old release",
            by=self._operator,
        )

    def _lead(self, clearing: Clearing) -> bool:
        asked, newest = ApprovalRequest.objects.filter(subject=clearing.subject).first(), clearing.newest_round
        if asked is None:
            self._say("ask")
            clearing_requests.ask(clearing, days=30, by=self._operator)
        elif asked.state == ApprovalRequest.State.PENDING:
            self._say("approve")
            approval_gate.approve(asked, by=self._reviewer, shown=asked.digest)
        elif newest is None:
            self._say("start")
            rounds.start(clearing, by=self._operator)
        elif newest.state == "cleared" and newest.accepted_at is None:
            self._say("accept")
            rounds.accept(newest, note="Opened the lists, all well", by=self._operator)
        elif newest.state in {"stopped", "ended", "nothing"}:
            raise Stuck(f"{newest} is {newest.state}: {newest.why}")
        else:
            return False
        return True
