"""Work that kills its worker: `python -m tests.kvops.runs.poisoned RUN` starts it repeatedly, each time in a new one.

Prints how each of the workers ended.
"""

import os
import signal
import sys
from datetime import timedelta

import django

import tests.environ  # noqa: F401

django.setup()

from django.db import connection  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from kvops import timing  # noqa: E402
from kvops.models import Run  # noqa: E402
from kvops.operations import registry  # noqa: E402
from kvops.operations.parts import RunKind  # noqa: E402
from kvops.runs import driver as run_driver  # noqa: E402
from kvops.runs.lease import Lease  # noqa: E402

WORKERS = run_driver.MAX_STARTS + 3


def die(_lease: Lease) -> None:
    """What such work does."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(run: int) -> None:
    """One worker after the other, each as soon as the lease of the one before could be taken over."""
    registry.RUNS[Run.Kind.SCAN] = RunKind(die)
    ended = []
    for _ in range(WORKERS):
        long_ago = Now() - timedelta(seconds=2 * timing.REQUEST_TIMEOUT)
        Run.objects.exclude(owner="").filter(pk=run).update(lease_until=long_ago)
        connection.close()
        pid = os.fork()
        if pid == 0:
            run_driver.drive(run)
            os._exit(0)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(*ended)


if __name__ == "__main__":
    main(int(sys.argv[1]))
