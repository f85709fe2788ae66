"""`conflicts` (A14): what is there and not as in the copy, of every kind and under every policy of a restore.

A trial is one restore of a copy of some odd keys, of which some are lost, some are as they were, and some are in
conflict; or somebody writes, or deletes, between the comparison and the write. The journal judges: what was overwritten
was approved, copied and read back before, and every key became what the product says.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from unittest.mock import patch

from backups.generations import start as generation_start
from backups.models import Generation, Restore
from backups.restores import requests as restore_requests, selection as restore_selection
from backups.restores.moves import RestoreRefused
from kvops.approvals import gate as approval_gate
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.fakes.namespaces import Item
from tests.fakes.writers import Writer
from tests.torture import odd_keys
from tests.torture.cleanup_ground import CleanupGround, ground, rng_of
from tests.torture.overwriting import ROUTES, OverwriteJudge
from tests.torture.rows import Found, TortureFigure, TortureRow, total

Policy = Restore.OnConflict
KINDS = ("equal", "value", "metadata", "expiration", "meanwhile", "vanishing")
CASES = tuple(product(KINDS, Policy))
STRIDE = 5
"""From one case to the next, so that a few trials see several kinds and policies: it divides nothing of 18."""

PREFIX = "master:"
MOVING = ("meanwhile", "vanishing")
"""Here the keys go on changing while the restore works."""


@dataclass(frozen=True)
class Names:
    """What became of the names after the copy was made."""

    lost: Sequence[str]
    kept: Sequence[str]
    conflict: Sequence[str]


def _conflicts(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ground() as here:
        for number in numbers:
            rng = rng_of("conflicts", seed, number)
            kind, policy = CASES[number * STRIDE % len(CASES)]
            with patch("backups.restores.chunks.CHUNK", rng.choice((3, 10, 1_000))):
                yield number, {f"case:{kind}:{policy}": 1, **_trial(here, rng, kind, policy)}


def _trial(here: CleanupGround, rng: random.Random, kind: str, policy: Restore.OnConflict) -> Found:
    here.begin()
    make.change_families(PREFIX, read=rng.choice(("bulk", "bulk", "exact")))
    later = int(here.clock.time()) + 10**8
    keys = odd_keys.keys(rng, rng.randrange(10, 60), prefix=PREFIX, base=later, large=rng.random() < 0.1)
    backups = {item.name: item for item in keys}
    for item in keys:
        here.kv.put(item)
    generation = _backed_up(here)
    names = _change(here, rng, kind, policy, backups)
    operator = here.people.operator
    restore = restore_selection.prepare_restore(generation, on_conflict=policy, actor=operator.actor, person=operator)
    here.work(late=False)
    judge = OverwriteJudge(here, backups)
    run = _started(here, rng, restore, lambda: _meddle(here, rng, kind, names))
    stopped = run is None or _seen_through(here, restore, run)
    if run is None:
        restore_requests.give_up(restore, actor=operator.actor)
    restore = Restore.objects.get(pk=restore.pk)
    found = judge.verdict(restore)
    return {
        **found,
        "trials": 1,
        "conflicting": len(names.conflict),
        "stopped": stopped,
        "written_all_the_same": found["writes"] if stopped else 0,
        "open": restore.is_open,
        "otherwise": _otherwise(restore, names, kind) if kind not in MOVING else 0,
    }


def _backed_up(here: CleanupGround) -> Generation:
    made = generation_start.start_backup(here.estate.qa, prefixes=[PREFIX], actor=make.SETUP)
    here.work(late=False)
    return Generation.objects.verified().select_related("environment", "namespace").get(pk=made.pk)


def _change(
    here: CleanupGround, rng: random.Random, kind: str, policy: Restore.OnConflict, backups: Mapping[str, Item]
) -> Names:
    """Lose two fifths of the keys, and bring three tenths into conflict."""
    shuffled = rng.sample(list(backups), len(backups))
    lost, conflict = len(shuffled) * 4 // 10, len(shuffled) * 7 // 10
    names = Names(shuffled[:lost], shuffled[conflict:], shuffled[lost:conflict])
    for name in names.lost:
        here.kv.delete(name)
    for name in names.conflict:
        # Where a conflict would stop everything before, all are equal until somebody meddles.
        if kind in NEWER or (policy is not Policy.STOP and rng.random() < 0.5):
            here.kv.put(NEWER.get(kind, _other_value)(rng, backups[name]))
    return names


def _other_value(rng: random.Random, item: Item) -> Item:
    return replace(item, data=_other(item.data, (b"", b"newer", item.data + b"\0", rng.randbytes(30)), rng))


def _other_metadata(rng: random.Random, item: Item) -> Item:
    return replace(item, metadata=_other(item.metadata, (None, *odd_keys.METADATA), rng))


def _other_expiration(rng: random.Random, item: Item) -> Item:
    at = item.expiration or 4_000_000_000
    return replace(item, expiration=_other(item.expiration, (None, at - 1, at, at + 1), rng))


def _other[T](now: T, choices: Sequence[T], rng: random.Random) -> T:
    return rng.choice([one for one in choices if one != now])


NEWER: Mapping[str, Callable[[random.Random, Item], Item]] = {
    "equal": lambda _rng, item: replace(item),
    "value": _other_value,
    "metadata": _other_metadata,
    "expiration": _other_expiration,
}


def _meddle(here: CleanupGround, rng: random.Random, kind: str, names: Names) -> None:
    """From now on somebody else writes, or deletes what is in conflict, before the product's calls and in its waits."""
    if kind == "meanwhile":
        everything = [*names.lost, *names.kept, *names.conflict]
        writer = Writer(here.cloudflare, here.kv.id, everything, seed=rng.random(), rate=1.0)
        for _ in range(rng.randrange(1, 6)):
            writer.act()
        writer.rate = rng.choice((0.0, 0.1, 0.5))
        here.between = lambda _seconds: writer.act()
    if kind == "vanishing":
        left = rng.sample(names.conflict, len(names.conflict))

        def vanish(_: object) -> None:
            if left and rng.random() < 0.3:
                here.cloudflare.remove(here.kv.id, left.pop())

        for route in ("bulk_get", "value", "metadata", *ROUTES):
            here.cloudflare.hook(route, vanish)
        here.between = vanish


def _started(here: CleanupGround, rng: random.Random, restore: Restore, meddle: Callable[[], None]) -> Run | None:
    """The run, with the meddling begun after the comparison, the approval or the start; None when it was refused."""
    operator, moment = here.people.operator, rng.randrange(3)
    if moment == 0:
        meddle()
    try:
        approval = restore_requests.submit(Restore.objects.get(pk=restore.pk), reason="a trial of torture", by=operator)
    except RestoreRefused:
        return None
    approval_gate.approve(approval, by=here.people.reviewer, shown=approval.digest)
    if moment == 1:
        meddle()
    run = restore_requests.start(restore, by=operator)
    if moment == 2:
        meddle()
    return run


def _seen_through(here: CleanupGround, restore: Restore, run: Run) -> bool:
    """Bring the run to its end; whether a conflict stopped it. Any other failure is tried again."""
    conflict = False
    for attempt in range(4):
        here.work(late=False)
        run.refresh_from_db()
        if run.state not in Run.RESUMABLE:
            break
        conflict = conflict or run.error_code == "conflict"
        if conflict or attempt == 2:
            restore_requests.end_early(restore, by=here.people.operator)
        else:
            run_driver.resume(run, actor=here.people.operator.actor)
    return conflict


def _otherwise(restore: Restore, names: Names, kind: str) -> int:
    """How many names were not treated as was chosen, where nobody meddled."""
    policy = Policy(restore.on_conflict)
    treated = {Policy.SKIP: kind, Policy.OVERWRITE: "written", Policy.STOP: "planned"}[policy]
    stops = policy is Policy.STOP and kind != "equal"
    expected = {
        **dict.fromkeys(names.lost, "planned" if stops else "written"),
        **dict.fromkeys(names.kept, "planned" if stops else "equal"),
        **dict.fromkeys(names.conflict, "equal" if kind == "equal" else treated),
    }
    return len(set(expected.items()) ^ set(restore.entries.values_list("name", "outcome")))


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    def none(name: str, key: str) -> TortureFigure:
        return TortureFigure(name, total(found, key), "==", 0)

    cases = {name for one in found for name in one if name.startswith("case:")}
    return [
        TortureFigure(f"kinds of conflict by policies, of {len(CASES)}", len(cases), ">=", min(len(found), len(CASES))),
        TortureFigure("keys in conflict", total(found, "conflicting"), ">=", len(found)),
        TortureFigure("keys in all", total(found, "names")),
        TortureFigure("writes", total(found, "writes"), ">=", 1),
        none("writes over newer data that the last read had told of and no verified copy held", "destroyed"),
        TortureFigure("writes over what was approved, copied and read back before", total(found, "overwritten")),
        TortureFigure(
            "writes over what was written between the last read and the write", total(found, "within_the_gap")
        ),
        TortureFigure(
            "gap from the last read to the write, max, s", max(one.get("gap_ms", 0.0) for one in found) / 1000
        ),
        none("writes over what was equal", "was_equal"),
        none("writes of something else than the copy holds", "not_the_backup"),
        none("keys whose result is not what the journal shows", "wrong"),
        none("keys not treated as was chosen", "otherwise"),
        TortureFigure("restores that a conflict stopped", total(found, "stopped")),
        none("writes of these", "written_all_the_same"),
        none("restores that did not come to an end", "open"),
    ]


ROWS = (TortureRow("conflicts", "A14", 10 * len(CASES), 3, _conflicts, _figures),)
