"""A2, A9, A11, A18: SIGKILLs at random moments of the main job: worker, cluster, sweep, web server, Postgres.

All of them are real processes, in lanes with a Postgres of their own (`lanes_with_postgres.py`); the fakes, the people
and the judge are in the lane. A trial has up to eight kills; n is chosen so that there are more than a thousand. What a
killed worker leaves behind is left alone for a trial: systemd and Docker would end it too.
"""

from collections.abc import Sequence
from functools import partial

from tests.torture import crashes, lanes_with_postgres
from tests.torture.lanes import SCALE
from tests.torture.rows import Found, TortureFigure, TortureRow, total

KINDS = ("worker", "cluster", "sweep", "web", "Postgres")
"""What is struck, as in `machine.py`, which needs Django."""
AT_LEAST = 7
"""Kills per trial, on average."""


def figures(found: Sequence[Found]) -> list[TortureFigure]:
    """All that must be zero, over all trials, and what was killed."""
    kills = sum(total(found, kind) for kind in KINDS)
    longest = max((one["ended after"] for one in found), default=0.0)
    return [
        *(TortureFigure(name, total(found, name), "==", 0) for name in crashes.ZEROS),
        TortureFigure("changing calls after deadline + timeout", total(found, "late"), "==", 0),
        TortureFigure("SIGKILLs", kills, ">=", AT_LEAST * len(found)),
        *(TortureFigure(f"SIGKILLs of {kind}", total(found, kind)) for kind in KINDS),
        TortureFigure("SIGKILLs of who held a lease, or of Postgres meanwhile", total(found, "at work")),
        TortureFigure("leases taken over", total(found, "taken over")),
        TortureFigure("runs that failed and were resumed by a person", total(found, "resumed")),
        TortureFigure("processes of a cluster left behind by a killed worker", total(found, "left behind")),
        TortureFigure("s from the last SIGKILL to the end of the job, longest", longest),
    ]


_trials = partial(lanes_with_postgres.trials, lane="tests.torture.kill_trial.KillLane", scale=SCALE, lanes=2)
ROWS = (TortureRow("kills", "A2, A9, A11, A18", 144, 0, _trials, figures, SCALE),)
