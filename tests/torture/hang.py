"""A10: kill what a cluster is made of, or take its database away; it is noticed, and tasks are executed again.

Several lanes run side by side, because the trials mostly wait. Each has a Postgres, a worker and a sweep of its own.
"""

import statistics
from collections.abc import Sequence
from functools import partial

from tests.torture import lanes_with_postgres
from tests.torture.rows import Found, TortureFigure, TortureRow

KINDS = ("pusher", "database", "worker", "monitor", "sentinel")
"""What is lost; the number of a trial says which."""
NOTICED, AGAIN = 60.0, 120.0
"""Seconds the promise allows, in production's time."""

LANE = "tests.torture.hang_trial.HangLane"


def figures(found: Sequence[Found], *, bounds: bool) -> list[TortureFigure]:
    """Per kind: how many were noticed and cured, and how long that took; `bounds` where time is production's."""
    made: list[TortureFigure] = []
    for kind, name in enumerate(KINDS):
        mine = [one for one in found if one["kind"] == kind]
        if not mine:
            continue
        cured = [one for one in mine if one["cured"]]
        made.append(TortureFigure(f"{name} lost: noticed and working again", len(cured), "==", len(mine)))
        for what, bound in (("noticed", NOTICED), ("again", AGAIN)) if cured else ():
            seconds = sorted(one[what] for one in cured)
            words = "s to notice" if what == "noticed" else "s until tasks are executed again"
            made.append(TortureFigure(f"{name} lost: {words}, median", statistics.median(seconds)))
            made.append(
                TortureFigure(f"{name} lost: {words}, longest", seconds[-1], *(("<=", bound) if bounds else ()))
            )
    made.append(
        TortureFigure("work that arrived meanwhile and was not done", sum(1 - one["kept"] for one in found), "==", 0)
    )
    return made


def _row(name: str, n: int, slice_: int, *, scale: float, lanes: int) -> TortureRow:
    trials = partial(lanes_with_postgres.trials, lane=LANE, scale=scale, lanes=lanes)
    return TortureRow(name, "A10", n, slice_, trials, partial(figures, bounds=scale == 1), scale)


ROWS = (
    _row("hang", 500, 0, scale=0.01, lanes=4),
    _row("hang_unscaled", 25, 0, scale=1.0, lanes=5),
)
