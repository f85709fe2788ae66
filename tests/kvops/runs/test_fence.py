"""A process that was paused while it changed something outside does nothing more once its lease may be another's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

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
