"""A2, A9, A18: a process dies at every boundary of the main job; A11: it is paused there for three leases.

`crashes_0` to `crashes_2`: one variant each; in each trial several processes die one after the other, each at another
boundary, and n trials have every boundary once. `stops`: two random boundaries of different jobs, of any variant, at
which a lease may be held.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from bench.torture import lanes
from bench.torture.rows import Figure, Found, Row, total
from bench.torture.stand import VARIANTS
from bench.torture.trials import TRIALS

ZEROS = ("keys lost", "double effects", "unmatched calls", "gaps in the audit log", "stuck")


def figures(found: Sequence[Found], *, boundaries: bool) -> list[Figure]:
    """All that must be zero, over all trials, and how much was covered."""
    made = [Figure(name, total(found, name), "==", 0) for name in ZEROS]
    made.append(Figure("boundaries not reached", total(found, "missed"), "==", 0))
    made.append(Figure("boundaries that only a slow machine passes", total(found, "rare")))
    if boundaries:
        known = max((one["boundaries"] for one in found), default=0.0)
        hit = {name for one in found for name in one if name.startswith("boundary ")}
        made.append(Figure("boundaries", known))
        made.append(Figure("different boundaries tried", len(hit), ">=", known if len(found) >= TRIALS else len(found)))
        made.append(Figure("deaths", total(found, "deaths"), ">=", len(found)))
    else:
        made.append(Figure("SIGSTOPs of three leases", total(found, "stops"), ">=", len(found)))
        made.append(Figure("changing calls after deadline + timeout", total(found, "late"), "==", 0))
        made.append(Figure("leases taken over meanwhile", total(found, "taken over")))
        made.append(Figure("ended by the fence", total(found, "fenced")))
    return made


def _crashes(seed: int, numbers: Sequence[int], *, variant: int) -> Iterator[tuple[int, Found]]:
    every = [number * VARIANTS + variant for number in numbers]
    for number, found in lanes.trials("bench.torture.trials.crash", seed, every, lanes=10):
        yield number // VARIANTS, found


def _stops(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    return lanes.trials("bench.torture.trials.stop", seed, numbers, lanes=12)


ROWS = (
    *(
        Row(
            f"crashes_{variant}",
            "A2, A9, A18",
            n=TRIALS,
            slice=1,
            trials=partial(_crashes, variant=variant),
            figures=partial(figures, boundaries=True),
            scale=lanes.SCALE,
        )
        for variant in range(VARIANTS)
    ),
    Row(
        "stops",
        "A11",
        n=255,
        slice=0,
        trials=_stops,
        figures=partial(figures, boundaries=False),
        scale=lanes.SCALE,
    ),
)
