"""A rule of a scheduled clearing on its way."""

from functools import partial

from backups.clearing import requests as clearing_requests, rounds
from backups.models import Clearing, ClearingRound
from kvops.approvals import gate as approval_gate
from kvops.inventory.selection import Selection
from kvops.models import ApprovalRequest, Family, Namespace
from tests import make
from tests.prepared import step

WITHOUT = Selection(without_expiration=True)
DAILY = "30 3 * * *"


def rule(namespace: Namespace, people: make.People, **more: object) -> Clearing:
    """A rule of the keys of `mastercache:` that never expire, a hundred at most, daily."""
    values: dict[str, object] = {
        "family": Family.objects.get(pattern="mastercache:"),
        "prefix": "mastercache:",
        "only": WITHOUT,
        "cap": 100,
        "expression": DAILY,
        "zone": "Asia/Tokyo",
        "reason": "old pages as agreed",
        "by": people.operator,
        **more,
    }
    return clearing_requests.create(namespace, **values)  # type: ignore[arg-type]


def approve(clearing: Clearing, people: make.People, days: int = 30) -> ApprovalRequest:
    """The rule with a standing approval."""
    asked = clearing_requests.ask(clearing, days=days, by=people.operator)
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    asked.refresh_from_db()
    return asked


def ran(clearing: Clearing, people: make.People) -> ClearingRound:
    """A round, worked on to its end."""
    run = rounds.start(clearing, by=people.operator)
    make.work()
    return ClearingRound.objects.select_related("run", "stage__generation").get(run=run)


def accepted(namespace: Namespace, people: make.People, **more: object) -> ClearingRound:
    """A rule in QA whose first round is accepted."""
    build = partial(_accepted, namespace, people, **more)
    return step("cleared", namespace, people.operator, people.reviewer, *sorted(more.items()), build=build)


def _accepted(namespace: Namespace, people: make.People, **more: object) -> ClearingRound:
    clearing = rule(namespace, people, **more)
    approve(clearing, people)
    done = ran(clearing, people)
    rounds.accept(done, note="opened the lists, all well", by=people.operator)
    return done
