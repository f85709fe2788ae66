"""A disposal on its way, for the tests of the deletion of copies."""

from backups.models import Disposal, Generation
from backups.retention import requests as disposals
from kvops.approvals import gate as approvals
from kvops.models import ApprovalRequest
from tests import make
from tests.backups.retention.copies_of_any_age import copy


def expired(estate: make.Estate, *days: float) -> list[Generation]:
    """Copies of these ages in QA, and one of yesterday that takes their place."""
    made = [copy(estate.qa, each, s3=estate.s3) for each in days]
    copy(estate.qa, 1, s3=estate.s3)
    return made


def asked(estate: make.Estate, people: make.People) -> Disposal:
    """What is due in QA, submitted."""
    return disposals.collect(estate.qa.environment, reason="Their date has come", by=people.operator)


def approved(estate: make.Estate, people: make.People) -> Disposal:
    """The same, approved."""
    disposal = asked(estate, people)
    request = ApprovalRequest.objects.get(disposal=disposal)
    approvals.approve(request, by=people.reviewer, shown=request.digest)
    return now(disposal)


def started(estate: make.Estate, people: make.People) -> Disposal:
    """The same, started; nothing was done yet."""
    disposal = approved(estate, people)
    disposals.start(disposal, by=people.operator)
    return now(disposal)


def now(disposal: Disposal) -> Disposal:
    """As it is in the database."""
    return Disposal.objects.select_related("environment", "approval", "run").get(pk=disposal.pk)
