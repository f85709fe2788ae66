"""A2, A9, A18: a process dies at every boundary of a job; A11: it is paused there for three leases.

`crashes_0` to `crashes_2`: one variant of the main job each, `crashes_restore`: a restore that overwrites,
`crashes_restore_alone`: one of a key that no bulk call can write. `crashes_change`: a settings key that is changed,
`crashes_clear`: a cache that is cleared under a standing approval, `crashes_bulk`: a bulk change. In each trial several
processes die one after the other, each at another boundary, and n trials have every boundary once.
`stops`: two random boundaries of different steps of the main job, of any variant, at which a lease may be held.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial

from tests.torture import lanes
from tests.torture.rows import Found, TortureFigure, TortureRow, total
from tests.torture.trials import KINDS, by_the_clock

ZEROS = ("keys lost", "double effects", "unmatched calls", "gaps in the audit log", "stuck")


def figures(found: Sequence[Found], *, whole: int = 0) -> list[TortureFigure]:
    """All that must be zero, over all trials, and how much was covered: of crashes, all of it in so many trials.

    A boundary that is passed by the clock may be rare at one count, but its place must have been reached at another.
    """
    missed, rare, tried = (_named(found, kind) for kind in ("missed ", "rare ", "boundary "))
    if whole and len(found) >= whole:
        places = {_place(at) for at in tried - missed - rare}
        missed |= {at for at in rare if by_the_clock(at) and _place(at) not in places}
    made = [TortureFigure(name, total(found, name), "==", 0) for name in ZEROS]
    made.append(TortureFigure("boundaries not reached", len(missed), "==", 0))
    made.append(TortureFigure("boundaries that not every run of the job passes", len(rare - missed)))
    if whole:
        known = max((one["boundaries"] for one in found), default=0.0)
        made.append(TortureFigure("boundaries", known))
        wanted = known if len(found) >= whole else len(found)
        made.append(TortureFigure("different boundaries tried", len(tried), ">=", wanted))
        made.append(TortureFigure("deaths", total(found, "deaths"), ">=", len(found)))
    else:
        made.append(TortureFigure("SIGSTOPs of three leases", total(found, "stops"), ">=", len(found)))
        made.append(TortureFigure("changing calls after deadline + timeout", total(found, "late"), "==", 0))
        made.append(TortureFigure("leases taken over meanwhile", total(found, "taken over")))
        made.append(TortureFigure("ended by the fence", total(found, "fenced")))
    return made


def _named(found: Sequence[Found], kind: str) -> set[str]:
    """The boundaries of which this was found."""
    return {name.removeprefix(kind) for one in found for name in one if name.startswith(kind)}


def _place(at: str) -> tuple[str, str]:
    """A boundary without its count: its step and place, and the side of it."""
    place, _, count = at.partition("#")
    return place, count.partition(".")[2]


def _told(ended: Iterator[tuple[int, Found]]) -> Iterator[tuple[int, Found]]:
    """The same; says which boundaries were not reached."""
    for number, found in ended:
        for name in found:
            if name.startswith(("missed ", "rare ")):
                print(f"trial {number}: {name}", file=sys.stderr)
        yield number, found


def _crashes(seed: int, numbers: Sequence[int], *, kind: int) -> Iterator[tuple[int, Found]]:
    every = [number * len(KINDS) + kind for number in numbers]
    for number, found in _told(lanes.trials("tests.torture.trials.crash", seed, every, lanes=10)):
        yield number // len(KINDS), found


def _stops(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    return _told(lanes.trials("tests.torture.trials.stop", seed, numbers, lanes=12))


ROWS = (
    *(
        TortureRow(
            f"crashes_{name}",
            "A2, A9, A18",
            n=KINDS[kind].trials,
            slice=0,
            trials=partial(_crashes, kind=kind),
            figures=partial(figures, whole=KINDS[kind].trials),
            scale=lanes.SCALE,
        )
        for kind, name in enumerate(("0", "1", "2", "restore", "restore_alone", "change", "clear", "bulk"))
    ),
    TortureRow(
        "stops",
        "A11",
        n=255,
        slice=0,
        trials=_stops,
        figures=figures,
        scale=lanes.SCALE,
    ),
)
