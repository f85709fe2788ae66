"""`restore` (A13): odd keys, deleted by the product with approval and put back by it, are the same as before.

A trial is one clean-up of QA and its undo, or a restore from the same copy. Some keys expire before they could be put
back, or so soon that KV takes them no more. The fake's own storage judges, as it was before and as it is afterwards.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backups.models import Restore, RestoreEntry
from backups.restores import requests as restore_requests, selection as restore_selection, undo as stage_undo
from backups.restores.moves import RestoreRefused
from kvops.approvals import gate as approval_gate
from kvops.models import Category, Run
from tests import make
from tests.fakes.namespaces import Item
from tests.torture import odd_keys
from tests.torture.cleanup_ground import CleanupGround, ground, rng_of
from tests.torture.rows import Found, TortureFigure, TortureRow, total

Outcome = RestoreEntry.Outcome
KEYS = 290
RESTORED = 250
"""As many of them can be put back in every trial; what is left of the others has expired."""

LATER = 6 * 3600
"""Seconds after the beginning of a trial when its keys are put back."""

PREFIXES = ("mastercache:", "-", "=")
"""The last two so that names begin with what a command line or a spreadsheet would take for something else."""

EXACT_ONE_IN = 3
LARGE_ONE_IN = 5


@dataclass(frozen=True)
class RestoreTrial:
    """What was there before the deletion, and what the product did to put it back."""

    before: Mapping[str, Item]
    refused: bool
    restore: Restore


def _restore(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ground() as here:
        for pattern in PREFIXES[1:]:
            make.family(pattern, Category.CACHE, expiry="ttl:3600")
        for number in numbers:
            yield number, _trial(here, rng_of("restore", seed, number), number)


def _trial(here: CleanupGround, rng: random.Random, number: int) -> Found:
    here.begin()
    prefix = PREFIXES[number // 2 % len(PREFIXES)]
    exact = number % EXACT_ONE_IN == EXACT_ONE_IN - 1
    make.change_families(prefix, read="exact" if exact else "bulk")
    base = int(here.clock.time()) + LATER
    large = number % LARGE_ONE_IN == LARGE_ONE_IN - 1
    keys = odd_keys.keys(rng, KEYS, prefix=prefix, base=base, bom=exact, large=3, largest=large)
    unnamed = f"{prefix}\0"
    for item in (*keys, Item(unnamed, b"it cannot be named")):
        here.kv.put(item)
    stage = here.approved(prefix=prefix)
    if stage is None:
        raise AssertionError("Nobody wrote, and still the copy is not whole.")
    here.deleted()
    refused = _refused(here, [keys[0].name, unnamed])
    here.clock.move(base - 600 - here.clock.time())
    undone = number % 2 == 0
    restore = _undone(here, base) if undone else _restored(here, base, keys if number % 4 == 1 else None)
    here.work()
    found = _compared(here, RestoreTrial({item.name: item for item in keys}, refused, restore))
    found |= Found(trials=1, undone=undone, exact=exact, unnamed=here.kv.get(unnamed) is not None)
    found["undone_again" if undone else "restored_again"] = here.stage.reappearances.count()
    here.close()
    return found


def _refused(here: CleanupGround, names: list[str]) -> bool:
    """Whether putting back a name that the database cannot hold is refused, with a sentence, and leaves nothing."""
    restored = Restore.objects.count()
    try:
        restore_selection.prepare_restore(here.backup, names=names, actor=here.people.operator.actor)
    except RestoreRefused as refused:
        return "contain NUL" in str(refused) and Restore.objects.count() == restored
    return False


def _undone(here: CleanupGround, base: int) -> Restore:
    """The deletion's own approval covers it."""
    here.clock.move(base - here.clock.time())
    run = stage_undo.start_undo(here.stage, by=here.people.operator2)
    return _seen_through(here, run)


def _restored(here: CleanupGround, base: int, listed: Sequence[Item] | None) -> Restore:
    """All keys of the copy, or those in a list, approved by another person."""
    operator, names = here.people.operator, [item.name for item in listed] if listed else None
    restore = restore_selection.prepare_restore(here.backup, names=names, actor=operator.actor, person=operator)
    here.work(late=False)
    restore = Restore.objects.get(pk=restore.pk)
    approval = restore_requests.submit(restore, reason="a trial of torture", by=operator)
    approval_gate.approve(approval, by=here.people.reviewer, shown=approval.digest)
    here.clock.move(base - here.clock.time())
    return _seen_through(here, restore_requests.start(restore, by=operator))


def _seen_through(here: CleanupGround, run: Run) -> Restore:
    here.work(late=False)
    run.refresh_from_db()
    if run.state != Run.State.SUCCEEDED:
        raise AssertionError(f"It was not put back: {run.error_code} {run.error}")
    return Restore.objects.get(run=run)


def _compared(here: CleanupGround, trial: RestoreTrial) -> Found:
    """Every key as it was against what the fake holds now, what the journal shows, and what the product reports."""
    outcomes = dict(trial.restore.entries.values_list("name", "outcome"))
    calls = here.cloudflare.journal
    deleted = {name for call in calls for name, value in call.deleted.items() if value is not None}
    written = Counter(name for call in calls for name in call.written)
    last = max(call.at for call in calls if call.written)
    counts = Counter[str]()
    for name, item in trial.before.items():
        now, outcome = here.kv.get(name), outcomes.get(name, "")
        counts["not_deleted"] += name not in deleted
        counts["reported_wrongly"] += now is not None and not _reported(item, outcome, trial.restore)
        if now is not None:
            counts["restored"] += name in deleted
            counts["large"] += len(item.data) == odd_keys.LARGEST
            counts["data"] += now.data != item.data
            counts["metadata"] += now.metadata != item.metadata
            counts["expiration"] += now.expiration != item.expiration
            counts["twice"] += written[name] > 1
        elif outcome in {Outcome.EXPIRED, Outcome.SOON} and not written[name]:
            counts[outcome] += 1
            counts["without_need"] += item.expiration is None or item.expiration >= last + odd_keys.LEAST
        else:
            counts["lost"] += 1
    return {
        **counts,
        "refused": trial.refused,
        "largest": sum(len(item.data) == odd_keys.LARGEST for item in trial.before.values()),
    }


def _reported(item: Item, outcome: str, restore: Restore) -> bool:
    """Whether a key that is there is reported so; one that expired before it was read back, as expired."""
    if outcome == Outcome.WRITTEN:
        return True
    ended = restore.finished_at.timestamp() if restore.finished_at else 0.0
    return outcome == Outcome.EXPIRED and item.expiration is not None and item.expiration <= ended


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    def none(name: str, key: str) -> TortureFigure:
        return TortureFigure(name, total(found, key), "==", 0)

    return [
        TortureFigure("keys deleted and put back", total(found, "restored"), ">=", RESTORED * len(found)),
        none("of these, values that are not byte-equal", "data"),
        none("of these, metadata that is not the same text", "metadata"),
        none("of these, expirations that are not exact", "expiration"),
        none("keys that are neither put back nor listed", "lost"),
        none("keys that were not deleted", "not_deleted"),
        TortureFigure("keys listed because they have expired", total(found, Outcome.EXPIRED)),
        TortureFigure("keys listed because less than a minute was left", total(found, Outcome.SOON)),
        none("keys listed although KV would have taken them", "without_need"),
        none("keys put back and reported otherwise", "reported_wrongly"),
        none("keys written more than once", "twice"),
        none("keys put back by an undo and reported as having come back", "undone_again"),
        TortureFigure("keys put back by a restore and reported as there again", total(found, "restored_again")),
        TortureFigure("values of 25 MiB put back", total(found, "large"), "==", total(found, "largest")),
        TortureFigure("names with NUL refused with a sentence", total(found, "refused"), "==", len(found)),
        TortureFigure("keys with NUL in their name untouched", total(found, "unnamed"), "==", len(found)),
        TortureFigure("trials that undo a deletion", total(found, "undone")),
        TortureFigure("trials with keys that are read one by one", total(found, "exact")),
    ]


ROWS = (TortureRow("restore", "A13", 40, 1, _restore, _figures),)
