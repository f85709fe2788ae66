"""`torn` (A15): a copy whose upload is cut anywhere is never complete; afterwards it is, and what is left is listed.

Each trial cuts one export at one call: a store that is down, an answer that is lost, a connection that breaks in the
body, a process that is killed, another object in the way. What lies in the bucket is judged by plain JSON and SHA-256.
"""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

from django.db.models.functions import Now

from backups.bucket import reconcile as bucket_reconcile
from backups.generations import start as generation_start
from backups.models import Generation, StoredObject
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.torture import empty_estate
from tests.torture.bucket import Held, canonical, held, named
from tests.torture.copies import fill
from tests.torture.exporting import Exporter, exporter
from tests.torture.rows import Found, TortureFigure, TortureRow, total

KEYS = 20
PART = 5
ALWAYS = 1_000
"""Times that no client's patience reaches."""

TOGETHER = 20
"""Trials between two emptyings of the database."""

Status = Generation.Status


@dataclass(frozen=True)
class Cut:
    """At the `nth` call of this kind (`PUT`, `HEAD`, or a route of KV), this happens."""

    at: str
    nth: int
    kind: str


def cuts(puts: int, reads: dict[str, int]) -> list[Cut]:
    """Every cut of an export that makes so many puts, and so many calls of each route of KV."""
    puts_cut = [Cut("PUT", n, kind) for n in range(puts) for kind in _PUT]
    heads_cut = [Cut("HEAD", n, kind) for n in range(puts) for kind in ("503", "killed")]
    reads_cut = [
        Cut(route, n, kind) for route, calls in reads.items() for n in {0, calls - 1} for kind in ("reset", "killed")
    ]
    return [*puts_cut, *heads_cut, *reads_cut]


_PUT = ("503", "lost answer", "torn before", "torn half-way", "killed before", "killed half-way", "taken")


def _torn(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ExitStack() as stack:
        process: Exporter | None = None
        for batch in (numbers[at : at + TOGETHER] for at in range(0, len(numbers), TOGETHER)):
            with empty_estate.estate() as estate, empty_estate.small_parts(PART), empty_estate.not_read_back():
                process = process or stack.enter_context(exporter(PART))
                possible = _possible(estate)
                for number in batch:
                    yield number, TornExportTrial(estate, process, seed, number).found(possible)


def _possible(estate: make.Estate) -> list[Cut]:
    """The cuts of an export of these keys, from one that nothing cuts."""
    fill(estate, 0, KEYS)
    generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    routes = ("keys", "bulk_get", "value", "metadata")
    found = cuts(len(estate.s3.calls("PUT")), {route: len(estate.cloudflare.calls(route)) for route in routes})
    # One after the other in another order, so that any few of them are of every kind.
    random.Random(1).shuffle(found)
    return found


class TornExportTrial:
    """One export, cut and then finished."""

    def __init__(self, estate: make.Estate, process: Exporter, seed: int, number: int) -> None:
        self.estate, self.process, self.number = estate, process, number
        self.rng = random.Random(f"{seed}/{number}")
        self.struck = Event()
        self.foreign: dict[str, bytes] = {}
        self._truth: list[Held] = []
        self._child, self._known, self._seen = 0, Event(), 0

    def found(self, possible: Sequence[Cut]) -> Found:
        """What came of it."""
        cut = possible[self.number % len(possible)]
        empty_estate.fresh_budget()
        fill(self.estate, self.rng.randrange(2**32), KEYS)
        self._remember()
        generation = generation_start.start_backup(self.estate.qa, prefixes=["master:"], actor=make.SETUP)
        self._cut(generation, cut)
        torn = int(self._false(generation))
        self.estate.s3.heal()
        self.estate.cloudflare.heal()
        if self.rng.randrange(2):
            self.estate.put(self.estate.qa, "master:001医院", self.rng.randbytes(20).hex().encode())
            self._remember()
        _finish(generation)
        torn += self._false(generation)
        stopped = generation.status == Status.WRITING and generation.run.error_code == "conflict"
        kept = all(self.estate.s3.objects[key] == body for key, body in self.foreign.items())
        right = stopped and kept if self.foreign else generation.status == Status.COMPLETE and not torn
        verified = bool(self.foreign) or _verified(generation)
        orphans, listed = self._orphans(generation)
        return {
            "struck": self.struck.is_set(),
            "torn but complete": torn,
            "ended as it must": right,
            "verified": verified,
            "orphans": len(orphans),
            "orphans not listed": len(orphans ^ listed),
            f"cut: {cut.at} {cut.kind}" if cut.at in ("PUT", "HEAD") else f"cut: reading, {cut.kind}": 1,
        }

    def _cut(self, generation: Generation, cut: Cut) -> None:
        """Work on the export until it is cut."""
        if cut.at in ("PUT", "HEAD"):
            self.estate.s3.hook(lambda method, key: self._arrived(cut, method, key))
        else:
            self.estate.cloudflare.hook(cut.at, lambda _: self._arrived(cut, cut.at, ""))
        while generation.run.is_open and not self.struck.is_set():
            if cut.kind.startswith("killed"):
                self._known.clear()
                self.process.drive(generation.run.pk, self._started)
            else:
                run_driver.drive(generation.run.pk)
            generation.run.refresh_from_db()

    def _arrived(self, cut: Cut, method: str, key: str) -> None:
        if method != cut.at or self.struck.is_set():
            return
        self._seen += 1
        if self._seen > cut.nth:
            self.struck.set()
            self._strike(cut, key)

    def _strike(self, cut: Cut, key: str) -> None:
        """What happens to this call and, where a client repeats it, to the same one again."""
        s3 = self.estate.s3
        match cut.kind:
            case "503":
                s3.fault("503", cut.at, key=key, times=ALWAYS)
            case "lost answer":
                s3.fault("lost_answer", "PUT", key=key)
            case "torn before" | "torn half-way" | "killed before" | "killed half-way":
                s3.fault("torn", "PUT", key=key, after=100 if "half" in cut.kind else 0, times=ALWAYS)
            case "taken":
                self.foreign[key] = s3.objects[key] = b"somebody else's"
            case "reset":
                self.estate.cloudflare.fault(cut.at, "reset", times=ALWAYS)
        if cut.kind.startswith("killed"):
            if not self._known.wait(30):
                raise AssertionError("the exporter's child has no number")
            os.kill(self._child, signal.SIGKILL)

    def _started(self, child: int) -> None:
        self._child = child
        self._known.set()

    def _remember(self) -> None:
        """What KV holds now."""
        items = self.estate.cloudflare.namespace(self.estate.qa.namespace_id).walk("", None)
        self._truth.append({one.name: (one.data, one.expiration, canonical(one.metadata)) for one in items})

    def _false(self, generation: Generation) -> bool:
        """Whether the database calls a copy complete that cannot be restored to what KV held then."""
        generation.refresh_from_db()
        if generation.status == Status.WRITING:
            return False
        found = held(self.estate.s3.objects, generation.stem)
        if found is None or found.keys() != self._truth[0].keys():
            return True
        return any(all(truth[name] != entry for truth in self._truth) for name, entry in found.items())

    def _orphans(self, generation: Generation) -> tuple[set[str], set[str]]:
        """What the bucket holds of this copy beyond its manifest, and what the listing says of that."""
        bucket_reconcile.start(generation.environment, actor=make.SETUP)
        make.work()
        under = f"{generation.stem}."
        mine = {key for key in self.estate.s3.objects if key.startswith(under)}
        known = StoredObject.objects.filter(key__startswith=under, status="unknown")
        finished = generation.status != Status.WRITING
        names = named(self.estate.s3.objects, generation.stem) if finished else set()
        return mine - names, set(known.values_list("key", flat=True))


def _finish(generation: Generation) -> None:
    """Let another worker take over at once, and work until nothing is left to do."""
    left = Run.objects.filter(pk=generation.run_id, state=Run.State.RUNNING).exclude(owner="")
    left.update(lease_until=Now() - timedelta(hours=1))
    make.work()
    generation.run.refresh_from_db()


def _verified(generation: Generation) -> bool:
    generation_start.start_verification(generation, actor=make.SETUP)
    make.work()
    generation.refresh_from_db()
    return generation.status == Status.VERIFIED


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    kinds = sorted({kind for one in found for kind in one if kind.startswith("cut: ")})
    return [
        TortureFigure("exports that were cut", total(found, "struck"), "==", len(found)),
        TortureFigure("torn copies called complete", total(found, "torn but complete"), "==", 0),
        TortureFigure(
            "ended complete and right, or stopped by a stranger's object",
            total(found, "ended as it must"),
            "==",
            len(found),
        ),
        TortureFigure("read back afterwards", total(found, "verified"), "==", len(found)),
        TortureFigure("orphans left in the bucket", total(found, "orphans")),
        TortureFigure("orphans not listed, or listed wrongly", total(found, "orphans not listed"), "==", 0),
        *(TortureFigure(kind, total(found, kind)) for kind in kinds),
    ]


ROWS = (TortureRow("torn", "A15", n=800, slice=5, trials=_torn, figures=_figures),)
