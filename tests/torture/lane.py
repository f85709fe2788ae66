"""`python -m tests.torture.lane FOLDER DATABASE BASE TRIAL SEED SCALE`: a number per line in, what was found out."""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str]) -> int:
    """Run the trials that are asked for until the input ends."""
    # Whatever becomes of who asks, nothing is left behind: its children end with this process.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    folder, database, base, trial, seed, scale = Path(argv[0]), *argv[1:6]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    # The settings of the tests, then Django, then what needs both.
    import tests.environ  # noqa: F401, PLC0415, I001
    import django  # noqa: PLC0415

    os.environ["KVOPS_TIME_SCALE"] = scale
    os.environ["LOG_LEVEL"] = "WARNING"
    django.setup()
    from django.utils.module_loading import import_string  # noqa: PLC0415

    from tests.torture.trial_estate import Stand  # noqa: PLC0415

    stand = Stand(folder, database=database, base=base)
    try:
        for line in sys.stdin:
            found = import_string(trial)(stand, int(seed), int(line))
            print(json.dumps([int(line), found]), file=answers, flush=True)
    finally:
        stand.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
