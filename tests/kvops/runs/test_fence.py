"""A process that was paused while it changed something outside does nothing more once its lease may be another's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from kvops import timing
from kvops.models import Run
from kvops.runs import outcomes
from kvops.runs.lease import Lease
from tests import clusters

LEASES = {"of three seconds": "0.002", "of three minutes": "1"}
"""What scales them so."""


@pytest.fixture
def paused(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kvops.runs.paused", LEASES[request.param]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=settings.BASE_DIR,
    )
    # Once it is stopped.
    os.waitpid(process.pid, os.WUNTRACED)
    yield process
    process.kill()
    process.communicate()


def go_on(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGCONT)
    assert process.stdout
    return process.wait(), process.stdout.read()


def alarmed(process: subprocess.Popen[str]) -> bool:
    """Whether the kernel holds an alarm for it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending.split()[1], 16) >> (signal.SIGALRM - 1) & 1)


@pytest.mark.hazard("B31")
@pytest.mark.parametrize("paused", ["of three seconds"], indirect=True)
def test_who_wakes_when_the_lease_may_be_anothers_is_ended_before_it_goes_on(paused: subprocess.Popen[str]) -> None:
    clusters.until("its time is over", lambda: alarmed(paused))
    assert go_on(paused) == (-signal.SIGALRM, "")


@pytest.mark.parametrize("paused", ["of three minutes"], indirect=True)
def test_who_wakes_in_time_goes_on(paused: subprocess.Popen[str]) -> None:
    assert go_on(paused) == (0, "goes on\n")


def held(asked_at: float) -> Lease:
    return Lease(Run(pk=1), foreground=False, asked_at=asked_at)


def test_nothing_is_begun_behind_the_trust_deadline() -> None:
    with pytest.raises(outcomes.LeaseLost), held(time.monotonic() - timing.TRUST).fence():
        raise AssertionError("this must not be reached")


def test_the_fence_gives_the_clock_of_the_process_back() -> None:
    def run_task(*_: object) -> None:
        """Somebody else's."""

    theirs, before = signal.signal(signal.SIGALRM, run_task), signal.setitimer(signal.ITIMER_REAL, 100, 7)
    try:
        with held(time.monotonic()).fence():
            assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert signal.getsignal(signal.SIGALRM) is run_task
    finally:
        signal.signal(signal.SIGALRM, theirs)
        signal.setitimer(signal.ITIMER_REAL, *before)
    assert (99 < left <= 100, interval) == (True, 7)
