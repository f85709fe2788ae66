"""The death of a worker at every commit and every outside call, for the tests of changes and of bulk changes."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from botocore.httpsession import URLLib3Session
from django.db.models.functions import Now

from kvops import timing
from kvops.models import Run
from kvops.runs.lease import Lease
from tests import make
from tests.fakes.held import Held
from tests.gate.world import undone


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


def deaths(estate: make.Estate, boundaries: DeathPoints, die: Callable[[int], None]) -> int:
    """Die at every boundary in turn, each time from the database and the fakes as they are now. How many there are."""
    held = Held.by(estate.cloudflare, estate.s3)
    assert held is not None, "What the fakes hold cannot be put back."
    at = 0
    while boundaries.passed >= at:
        at += 1
        with undone():
            boundaries.arm(at)
            die(at)
        held.put_back(estate.cloudflare, estate.s3)
    boundaries.arm(0)
    return at - 1


def work_with_a_death() -> None:
    """Work as a worker does; after a death another one takes over, once the lease is over."""
    try:
        make.work()
    except Died:
        died = True
    else:
        died = False
    if died:
        _close_what_was_open()
        Run.objects.open().exclude(owner="").update(lease_until=Now() - timedelta(hours=1))
        make.work()


def _close_what_was_open() -> None:
    """A dead process leaves its sockets to the system; here the frames that held them must go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
