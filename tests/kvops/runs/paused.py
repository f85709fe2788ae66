"""A process that stops itself within the fence of its lease, and says when it goes on.

`python -m tests.kvops.runs.paused SCALE`.
"""

import os
import signal
import sys
import time

import tests.environ  # noqa: F401

os.environ["KVOPS_TIME_SCALE"] = sys.argv[1]

import django

django.setup()

from kvops.models import Run  # noqa: E402
from kvops.runs.lease import Lease  # noqa: E402

if __name__ == "__main__":
    lease = Lease(Run(pk=1), foreground=False, asked_at=time.monotonic())
    with lease.fence():
        os.kill(os.getpid(), signal.SIGSTOP)
        print("goes on", flush=True)
