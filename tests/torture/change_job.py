"""The change job: a key of settings gets another value, from its proposal to the erasure of the proposal.

The answer to the write gets lost.
"""

from backups.bucket import access as bucket_access, protection as bucket_protection
from backups.changes import proposal as proposals, propose, requests as change_requests, review_key
from backups.changes.proposal import ProposalRefused
from backups.changes.propose import Wish
from backups.models import Generation, KeyChange
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Namespace, Run
from tests import keys
from tests.backups.changes.helpers import KEY, NEW
from tests.torture.clicks import Stuck
from tests.torture.job import Say, TortureJob

State = KeyChange.State


def over() -> bool:
    """Whether it was written, accepted and erased, and nothing is left to do."""
    done = KeyChange.objects.applied().filter(accepted_at__isnull=False, erased_at__isnull=False)
    unerased = KeyChange.objects.exclude(object_key="").filter(erased_at=None)
    return done.exists() and not unerased.exists() and not Run.objects.open().exists()


class ChangeJob(TortureJob):
    """People propose, submit, approve and start the change; they look at the difference before they submit it."""

    def __init__(self, say: Say) -> None:
        keys.encrypt()
        super().__init__(say)

    def over(self) -> bool:
        """Whether it was written."""
        return over()

    def _click(self) -> bool:
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        change = KeyChange.objects.exclude(state=State.ENDED).first()
        if change is None:
            self._propose()
            return True
        match change.state:
            case State.DRAFT:
                return self._submit(change)
            case State.SUBMITTED:
                self._say("approve")
                asked = ApprovalRequest.objects.get(subject=change.subject)
                approval_gate.approve(asked, by=self._reviewer, shown=asked.digest)
            case State.APPROVED:
                self._say("claim")
                change_requests.start(change, by=self._operator)
            case State.DONE if change.accepted_at is None:
                self._say("accept")
                change_requests.accept(change, note="Sent a mail, it arrived", by=self._operator)
            case _:
                return False
        return True

    def _propose(self) -> None:
        self._say("propose")
        namespace = Namespace.objects.get(environment__slug="qa", binding="SETTINGS")
        bucket_protection.ask_cloudflare(namespace.environment)
        old = propose.live_entry(namespace, KEY)
        propose.propose(namespace, KEY, old=old, wish=Wish(value=NEW), by=self._operator)

    def _submit(self, change: KeyChange) -> bool:
        """Submit it once its backup is verified. A change whose proposal never reached the bucket is given up."""
        if not Generation.objects.verified().filter(changes=change).exists():
            return False
        self._say("look")
        try:
            with bucket_access.store(change.environment) as store:
                proposals.opened(change, store, [review_key.identity()])
        except ProposalRefused:
            self._say("give-up")
            change_requests.give_up(change, by=self._operator)
            return True
        self._say("submit")
        change_requests.submit(change, reason="The mail server moves", by=self._operator)
        return True
