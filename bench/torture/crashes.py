"""A2, A9, A18: a process dies at every boundary of the main job; A11: it is paused there for three leases.

`crashes`: trial `number` plays variant `number % 3` and ends at one boundary of that variant, another one for each
number, round and round; n is larger than all boundaries of all variants. `stops`: a random boundary at which a lease
may be held.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from bench.torture import lanes
from bench.torture.rows import Figure, Found, Row, total

ZEROS = ("keys lost", "double effects", "unmatched calls", "gaps in the audit log", "stuck")


def figures(found: Sequence[Found], *, boundaries: bool) -> list[Figure]:
    """All that must be zero, over all trials, and how much was covered."""
    made = [Figure(name, total(found, name), "==", 0) for name in ZEROS]
    made.append(Figure("boundaries not reached", total(found, "missed"), "==", 0))
    made.append(Figure("boundaries that only a slow machine passes", total(found, "rare")))
    if boundaries:
        known = {one["variant"]: one["boundaries"] for one in found}
        hit = {(one["variant"], one["boundary"]) for one in found}
        made.append(Figure("boundaries of all variants", sum(known.values())))
        made.append(Figure("different boundaries tried", len(hit), ">=", min(len(found), sum(known.values()))))
    else:
        made.append(Figure("changing calls after deadline + timeout", total(found, "late"), "==", 0))
        made.append(Figure("leases taken over meanwhile", total(found, "taken over")))
        made.append(Figure("ended by the fence", total(found, "fenced")))
    return made


def _trials(seed: int, numbers: Sequence[int], *, trial: str, side_by_side: int) -> Iterator[tuple[int, Found]]:
    return lanes.trials(f"bench.torture.trials.{trial}", seed, numbers, lanes=side_by_side)


ROWS = (
    Row(
        "crashes",
        "A2, A9, A18",
        3000,
        1,
        partial(_trials, trial="crash", side_by_side=8),
        partial(figures, boundaries=True),
        scale=lanes.SCALE,
    ),
    Row(
        "stops",
        "A11",
        500,
        0,
        partial(_trials, trial="stop", side_by_side=12),
        partial(figures, boundaries=False),
        scale=lanes.SCALE,
    ),
)
