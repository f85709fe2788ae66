"""`drift` (A3) and `partial` (A12): deletions among writers, with old answers, and with answers that say little.

A trial of `drift` is one small clean-up of QA, from the scan to the look a day after the proof, with somebody who
writes before every call and during every wait, answers up to 300 seconds old, and deleted keys that return. Every fifth
one begins its deletion with few requests left, and values that must be read one by one. The journal judges.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from backups.models import CleanupException
from kvops import timing
from kvops.connections.budget import SharedBudget
from tests.fakes.cloudflare import ApiCall
from tests.fakes.past import Lag
from tests.fakes.writers import Writer
from tests.torture import contents
from tests.torture.cleanup_ground import CleanupGround, State, ground, rng_of
from tests.torture.partial import PARTIAL
from tests.torture.rows import Found, TortureFigure, TortureRow, total

TIGHT_ONE_IN = 5
STEP = 0.01
"""Seconds of a bucket of gaps."""


@dataclass(frozen=True)
class SeenEntry:
    """A key as the bucket gives it back, or as a read was told: value (SHA-256), expiration, metadata."""

    value: str | None
    expiration: int | None
    metadata: object


def _drift(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ground() as here:
        for number in numbers:
            yield number, _trial(here, rng_of("drift", seed, number), tight=number % TIGHT_ONE_IN == 0)


def _trial(here: CleanupGround, rng: random.Random, *, tight: bool) -> Found:
    longest = rng.choice((0.0, 60.0, 300.0, 300.0))
    here.begin(read="exact" if rng.random() < 0.2 else "bulk")
    names = _fill(here, rng, tight=tight)
    here.clock.move(10 * timing.STALE)
    here.cloudflare.lag = Lag(rng.random(), longest) if longest else None
    writer = Writer(
        here.cloudflare, here.estate.qa.namespace_id, names, seed=rng.random(), rate=rng.choice((0.05, 0.2, 0.5))
    )

    def write(seconds: float) -> None:
        for _ in range(1 + min(20, int(seconds / 30))):
            writer.act()

    here.between = write
    found = Found(trials=1, tight=tight, lagging=longest > 0)
    # At every step, but seldom enough that now and then a copy is whole.
    rate, writer.rate = writer.rate, 0.05
    if here.approved() is None:
        here.close()
        return {**found, "never_backed_up": 1}
    writer.rate = rate
    for name in rng.sample(names, 5):
        here.kv.return_after_delete(name, rng.choice((1.0, 30.0, 200.0, 3_600.0, 80_000.0, 200_000.0)))
    if tight:
        here.clock.move(timing.STALE)  # which a deletion waits for anyway, and which would fill the budget again
        _spend(here, left=rng.randrange(10, 330))
    here.deleted()
    done = here.clock.time()
    here.work()
    found |= _judged(here, longest)
    found |= {
        "writes": writer.writes,
        "failed": here.stage.state != State.CONFIRMED,
        "limited": here.limited,
        "unseen": _unreported(here, done),
    }
    here.close()
    return found


def _fill(here: CleanupGround, rng: random.Random, *, tight: bool) -> list[str]:
    """50 to 300 keys; those that bulk reads show damaged are read singly, which uses the budget up."""
    names = [f"mastercache:{number:04}" for number in range(rng.randrange(50, 301))]
    odd = 0.4 if tight else 0.03
    for name in names:
        data = rng.randbytes(20) if rng.random() < odd else f"value {rng.random()}".encode()
        metadata = {"v": rng.random()} if rng.random() < 0.3 else None
        later = int(here.clock.time()) + 10**7 if rng.random() < 0.1 else None
        here.cloudflare.put(here.estate.qa.namespace_id, name, data, later, metadata)
    return names


def _spend(here: CleanupGround, *, left: int) -> None:
    """Leave the account this many requests of the present window."""
    budget = SharedBudget.of(here.estate.qa.environment)
    budget.take(max(0, budget.left().calls - left))


def _backed_up(here: CleanupGround) -> Mapping[str, SeenEntry]:
    """What the bucket gives back of the stage's copy, read without the product."""
    items = contents.of(here.backup, here.estate.s3.objects).values()
    return {
        item.name: SeenEntry(
            sha256(item.data).hexdigest(), item.expiration, json.loads(item.metadata) if item.metadata else None
        )
        for item in items
    }


def _judged(here: CleanupGround, longest: float) -> Found:
    """What the journal says of every key that was deleted."""
    backed_up, counts, gaps = _backed_up(here), Counter[str](), Counter[str]()
    longest_gap = 0.0
    for call in here.cloudflare.calls("bulk_delete"):
        for name, value in call.deleted.items():
            counts["sent"] += 1
            if value is not None:
                counts.update(_of_one(here, call, name, backed_up.get(name), longest))
                gap = call.at - call.read[name].at if name in call.read else 0.0
                longest_gap = max(longest_gap, gap)
                gaps[f"gap:{int(gap / STEP) + 1:05}"] += 1
    return {**counts, **gaps, "gap_max": longest_gap}


def _of_one(here: CleanupGround, call: ApiCall, name: str, backup: SeenEntry | None, longest: float) -> Iterator[str]:
    """What is to be counted of one deleted key."""
    yield "deleted"
    answered = call.read.get(name)
    if backup is None or answered is None or answered.value != backup.value:
        yield "not_the_value_of_the_backup"
    elif SeenEntry(answered.value, answered.expiration, json.loads(answered.metadata or "null")) != backup:
        yield "lost"
    if answered is not None and call.deleted[name] != answered.value:
        yield "newer"
        if call.at - here.kv.before_delete(name, call.at) > longest + (call.at - answered.at) + 1.0:
            yield "older_than_the_window"


def _unreported(here: CleanupGround, done: float) -> int:
    """Keys that were gone, were there again long before the last look, stayed, and are in no report."""
    look = here.clock.time() - 10.0
    stage = here.stage
    known = {*stage.reappearances.values_list("name", flat=True)}
    known |= {*stage.exceptions.filter(outcome__in=CleanupException.LEFTOVERS).values_list("name", flat=True)}
    proof = stage.second_listing_at.timestamp() if stage.second_listing_at else done
    last = min(look, proof + timing.LATE_CHECK) - timing.STALE
    frozen = set(stage.entries.values_list("name", flat=True))
    there = (name for name in frozen - known if here.kv.lived_since(name, last, here.clock.time()))
    return sum(1 for _ in there)


def _percentile(found: Sequence[Found], share: float) -> float:
    """Seconds within which this share of all gaps lie, to 0.01 s."""
    counted = Counter[str]()
    for one in found:
        counted.update({name: int(n) for name, n in one.items() if name.startswith("gap:")})
    wanted = share * counted.total()
    for name in sorted(counted):
        wanted -= counted[name]
        if wanted <= 0:
            return int(name.removeprefix("gap:")) * STEP
    return 0.0


def _drift_figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("keys deleted", total(found, "deleted"), ">=", 1),
        TortureFigure(
            "deleted after a last read of another value than the copy holds",
            total(found, "not_the_value_of_the_backup"),
            "==",
            0,
        ),
        TortureFigure("deleted and not restorable as last read", total(found, "lost"), "==", 0),
        TortureFigure("deleted values older than the lag and not seen", total(found, "older_than_the_window"), "==", 0),
        TortureFigure("deleted values written within the lag or the gap", total(found, "newer")),
        TortureFigure("keys that returned and are in no report", total(found, "unseen"), "==", 0),
        TortureFigure("writes by others", total(found, "writes")),
        TortureFigure("trials with old answers", total(found, "lagging")),
        TortureFigure("trials with few requests left", total(found, "tight")),
        TortureFigure("waits for the request limit", total(found, "limited")),
        TortureFigure("trials in which others never let a copy be whole", total(found, "never_backed_up")),
        TortureFigure("deletions that did not come to their end", total(found, "failed"), "==", 0),
        TortureFigure("gap from the last read to the delete, p50, s", _percentile(found, 0.5)),
        TortureFigure(
            "gap from the last read to the delete, p99, s", _percentile(found, 0.99), "<=", timing.READ_FRESH
        ),
        TortureFigure(
            "gap from the last read to the delete, max, s", max((one.get("gap_max", 0.0) for one in found), default=0)
        ),
    ]


ROWS = (TortureRow("drift", "A3", 300, 1, _drift, _drift_figures), PARTIAL)
