"""The worker dies at every commit and every outside call of a change: it is written once, read back and erased."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from botocore.httpsession import URLLib3Session
from django.db.models.functions import Now

from audit.models import Entry
from backups.changes import requests as change_requests
from backups.models import KeyChange
from kvops import timing
from kvops.models import Run
from kvops.runs.lease import Lease
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting"), pytest.mark.timeout(1800)]


class Died(BaseException):
    """What the death of a process looks like from inside: nothing after it runs."""


class DeathPoints:
    """Counts what is passed, and dies at one of them."""

    def __init__(self) -> None:
        self.passed, self.last = 0, 0

    def arm(self, last: int) -> None:
        self.passed, self.last = 0, last

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            raise Died


@pytest.fixture
def boundaries(monkeypatch: pytest.MonkeyPatch) -> DeathPoints:
    """Before and after each commit of progress, each request to Cloudflare, and each call of the bucket."""
    found = DeathPoints()
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    for owner, name in ((httpx.Client, "send"), (URLLib3Session, "send")):
        monkeypatch.setattr(owner, name, _around(found, getattr(owner, name)))
    real = Lease.checkpoint

    @contextmanager
    def checkpoint(lease: Lease, *args: Any, **more: Any) -> Iterator[None]:
        found.point()
        with real(lease, *args, **more):
            yield
        found.point()

    monkeypatch.setattr(Lease, "checkpoint", checkpoint)
    return found


def _around(found: DeathPoints, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> object:
        found.point()
        answer = real(*args, **more)
        found.point()
        return answer

    return call


def work_with_a_death() -> None:
    """Work as a worker does; after a death another one takes over, once the lease is over."""
    try:
        make.work()
    except Died:
        Run.objects.open().exclude(owner="").update(lease_until=Now() - timedelta(hours=1))
        make.work()


def one(estate: make.Estate, people: make.People, boundaries: DeathPoints, at: int) -> bool:
    """One change whose worker dies at this boundary; False if there are fewer."""
    boundaries.arm(0)
    value = f'{{"n":{at}}}'.encode()
    change = change_helpers.approved(change_helpers.proposed(estate.qa, people, value=value), people)
    before = len(estate.cloudflare.calls("put_value"))
    change_requests.start(change, by=people.operator)
    boundaries.arm(at)
    work_with_a_death()
    reached = boundaries.passed >= at
    boundaries.arm(0)
    change = change_helpers.fresh(change)
    held = change_helpers.held(estate, estate.qa)
    assert (change.outcome, held.data if held else None) == (KeyChange.Outcome.WRITTEN, value), at
    assert len(estate.cloudflare.calls("put_value")) == before + 1, at
    assert Entry.objects.filter(action="change.intended", subject=change.subject).count() >= 1
    assert (change.erased_at is not None, change_helpers.proposals(estate)) == (True, []), at
    return reached


def test_wherever_the_worker_dies_the_key_is_written_once_and_the_proposal_is_erased(
    estate: make.Estate, people: make.People, boundaries: DeathPoints
) -> None:
    change_helpers.ready(estate)
    assert change_helpers.held(estate, estate.qa, KEY) is not None
    at = 1
    while one(estate, people, boundaries, at):
        at += 1
    assert at > 30
