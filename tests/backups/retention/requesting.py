"""A prune on its way, for the tests of the deletion of copies."""

from backups.models import Generation, PruneRequest
from backups.retention import requests as prune_requests
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age


def expired(estate: make.Estate, *days: float) -> list[Generation]:
    """Copies of these ages in QA, and one of yesterday that takes their place."""
    made = [backup_of_age(estate.qa, each, s3=estate.s3) for each in days]
    backup_of_age(estate.qa, 1, s3=estate.s3)
    return made


def asked(estate: make.Estate, people: make.People) -> PruneRequest:
    """What is due in QA, submitted."""
    return prune_requests.collect(estate.qa.environment, reason="Their date has come", by=people.operator)


def approved(estate: make.Estate, people: make.People) -> PruneRequest:
    """The same, approved."""
    prune = asked(estate, people)
    request = ApprovalRequest.objects.get(prune=prune)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return now(prune)


def started(estate: make.Estate, people: make.People) -> PruneRequest:
    """The same, started; nothing was done yet."""
    prune = approved(estate, people)
    prune_requests.start(prune, by=people.operator)
    return now(prune)


def now(prune: PruneRequest) -> PruneRequest:
    """As it is in the database."""
    return PruneRequest.objects.select_related("environment", "approval", "run").get(pk=prune.pk)
