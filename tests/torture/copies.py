"""`corruption` (A1): whatever is done to a copy in its bucket, the read-back finds it, and finds nothing otherwise.

Most trials go through the comparing code of the read-back over a store in memory. One in fifty is whole: a new copy is
exported, verified over HTTP by a run, damaged in the bucket, and verified again.
"""

import random
from collections.abc import Iterator, Sequence
from copy import copy as copied
from hashlib import sha256

from backups.bucket.store import ObjectMissing
from backups.generations import start as generation_start, verification as generation_verification
from backups.models import Generation
from kvops.models import Run
from tests import make
from tests.audit.make import triggers_off
from tests.torture import empty_estate
from tests.torture.damage import BackupObjects, Change, Damage, damage
from tests.torture.rows import Found, TortureFigure, TortureRow, total

PART = 16
KEYS = 42
WHOLE_ONE_IN = 50
_ODD = ("", "医院", "😀", "/%?#& +", '"\\', "\u2028")
_METADATA = (None, None, '{"v":1.0}', '{"v":1,"a":[]}', "[1,1.0]", '"text"', "1e400", '{"a":1,"a":2}', "{}")


def fill(estate: make.Estate, seed: int, keys: int = KEYS) -> None:
    """Keys of every kind, with values that no two of them share; only the values depend on the seed."""
    rng = random.Random(seed)
    for number in range(keys):
        data = f"{number}:".encode() + (rng.randbytes(100).hex().encode() if number % 8 else rng.randbytes(200))
        name = f"master:{number:03}{_ODD[number % len(_ODD)]}"
        expiration = 2_000_000_000 + number if number % 3 == 0 else None
        metadata = _METADATA[number % len(_METADATA)]
        estate.put(estate.qa, name, b"" if number == 7 else data, expiration=expiration, metadata=metadata)


def back_up(estate: make.Estate) -> Generation:
    """A complete copy that nothing has read back yet."""
    empty_estate.fresh_budget()
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    if made.status != Generation.Status.COMPLETE:
        raise AssertionError(f"The copy is {made.status}: {made.run.error}")
    return Generation.objects.select_related("environment", "namespace").get(pk=made.pk)


def stored(estate: make.Estate, generation: Generation, other: BackupObjects | None = None) -> BackupObjects:
    """What the copy put into the bucket."""
    objects = {key: body for key, body in estate.s3.objects.items() if key.startswith(f"{generation.stem}.")}
    return BackupObjects(objects, generation.manifest_key, other)


def _corruption(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with empty_estate.estate() as estate, empty_estate.small_parts(PART), empty_estate.not_read_back():
        fill(estate, seed + 1)
        other = stored(estate, back_up(estate))
        fill(estate, seed)
        generation = back_up(estate)
        backup = stored(estate, generation, other)
        for number in numbers:
            whole = not random.Random(f"{seed}:{number}").randrange(WHOLE_ONE_IN)
            if whole:
                done, untouched, verified = _whole(estate, other, seed, number)
            else:
                done = damage(backup, seed, number)
                untouched, verified = (
                    _verdict(generation, backup),
                    _verdict(_told(generation, done), backup, done.change),
                )
            yield number, {"untouched": untouched, "verified": verified, "whole": whole, done.kind: 1}


def _verdict(generation: Generation, backup: BackupObjects, change: Change | None = None) -> bool:
    """Whether the read-back's comparing code finds the copy to be as written."""
    objects = {**backup.objects, **(change or {})}

    def opened(key: str) -> Iterator[bytes]:
        body = objects.get(key)
        if body is None:
            raise ObjectMissing(f"There is no {key}.")
        yield body

    try:
        for _ in generation_verification.StoredBackup(generation, opened, lambda: None).compared():
            pass
    except generation_verification.WRONG:
        return False
    return True


def _told(generation: Generation, done: Damage) -> Generation:
    """The row as somebody would leave it who may write to the database as well, but not to the names' digests."""
    told = copied(generation)
    for name, value in _row(done).items():
        setattr(told, name, value)
    return told


def _row(done: Damage) -> dict[str, str | int]:
    if done.document is None:
        return {}
    counts = done.document.counts
    return {
        "manifest_sha256": sha256(done.document.to_json()).hexdigest(),
        "digest_root": done.document.digest_root,
        "keys": counts.keys,
        "bytes": counts.value_bytes,
    }


def _whole(estate: make.Estate, other: BackupObjects, seed: int, number: int) -> tuple[Damage, bool, bool]:
    generation = back_up(estate)
    control = _verified(generation)
    backup = stored(estate, generation, other)
    done = damage(backup, seed, number)
    for key, body in done.change.items():
        if body is None:
            del estate.s3.objects[key]
        else:
            estate.s3.objects[key] = body
    if row := _row(done):
        with triggers_off("backups_generation"):
            Generation.objects.filter(pk=generation.pk).update(**row)
    found = _verified(generation)
    for key in backup.objects:
        estate.s3.objects.pop(key, None)
    return done, control, found


def _verified(generation: Generation) -> bool:
    """Whether a verification run over HTTP ends with "verified"."""
    run = generation_start.start_verification(generation, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    generation.refresh_from_db()
    if run.state != Run.State.SUCCEEDED:
        raise AssertionError(f"The verification did not end: {run.error}")
    return generation.status == Generation.Status.VERIFIED


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    kinds = sorted({kind for one in found for kind in one} - {"untouched", "verified", "whole"})
    return [
        TortureFigure("damaged copies detected", len(found) - total(found, "verified"), "==", len(found)),
        TortureFigure("damaged copies verified", total(found, "verified"), "==", 0),
        TortureFigure("untouched copies verified", total(found, "untouched"), "==", len(found)),
        TortureFigure("of these through a whole run over HTTP", total(found, "whole")),
        *(TortureFigure(f"damage: {kind}", total(found, kind)) for kind in kinds),
    ]


ROWS = (TortureRow("corruption", "A1", n=30_000, slice=150, trials=_corruption, figures=_figures),)
