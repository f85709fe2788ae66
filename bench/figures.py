"""The benches. Times are ratios within one run, so that they mean the same on any machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, floor
from time import perf_counter

from bench import wrangler
from bench.place import place

RATE = 960 / 300  # calls per second that Cloudflare's limit leaves us
MILLION = 1_000_000
LARGE = 200  # values; hazard B13
MIB = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """One row: `bound` is what `value` must not exceed, or must reach if `at_least`; None for information."""

    name: str
    value: float
    n: int
    bound: float | None = None
    at_least: bool = False

    @property
    def target(self) -> str:
        """The target as shown."""
        return "-" if self.bound is None else f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def calls() -> Iterator[Figure]:
    """Requests per key, counted by the server, and what they mean at Cloudflare's rate."""
    n = 10_000
    with place(n) as here:
        here.work("scan")
        scan = here.calls()
        here.work("backup")
        backup = here.calls()
        here.work("verify")
        verify = here.calls()
    pages, batches, sample = ceil(n / 1000), ceil(n / 100), 20 + n // 2000
    yield Figure("list calls of a scan", scan["keys"], n, pages + 1)
    yield Figure("list calls of a backup", backup["keys"], n, pages + 1)
    yield Figure("bulk-get calls of a backup", backup["bulk_get"], n, floor(1.02 * batches) + ceil(sample / 20))
    yield Figure("single gets of a backup (the sample)", backup["value"], n, sample)
    yield Figure("calls to KV of a read-back", sum(verify.values()), n, 0)
    for what, counted in ("list", scan["keys"]), ("copy", backup["bulk_get"]):
        minutes = counted / n * MILLION / RATE / 60
        yield Figure(f"minutes to {what} a million keys at 960 calls in 300 s (computed)", minutes, MILLION)


def memory() -> Iterator[Figure]:
    """Peak memory of the process that exports: many keys against few, and the largest values there are."""
    few, many = 1_000, 100_000
    peaks = []
    for n in few, many:
        with place(n) as here:
            peaks.append(here.work("backup")["process"]["peak_kib"] / 1024)
            yield Figure("peak MiB of an export", peaks[-1], n)
    yield Figure(f"peak memory of an export, against {few} keys", peaks[1] / peaks[0], many, 1.3)
    with place(LARGE, size=25 * MIB) as here:
        peak = here.work("backup")["process"]["peak_kib"] / 1024
    # A part of 64 MiB, one more value being read and one being written in several forms each, and the process itself.
    yield Figure("peak MiB of an export of values of 25 MiB", peak, LARGE, 350)


def against_wrangler() -> Iterator[Figure]:
    """The same copy by hand with wrangler, from the same server."""
    n = 10_000
    with place(n) as here:
        begun = perf_counter()
        ours = here.work("backup")["backup"]["seconds"]
        with_start = perf_counter() - begun
        read_back = here.work("verify")["verify"]["seconds"]
        by_hand = wrangler.backup(here, n)
    yield Figure("seconds of a backup by a running worker", ours, n)
    yield Figure("seconds of it in a process of its own, start included", with_start, n)
    yield Figure("seconds of the read-back after it", read_back, n)
    yield Figure("seconds by wrangler kv key list", by_hand.listing, n)
    yield Figure(f"seconds by wrangler kv bulk get ({by_hand.note})", by_hand.reading, n)
    total = by_hand.listing + by_hand.reading
    yield Figure("wrangler's time, against a process of its own", total / with_start, n)
    yield Figure("wrangler's time, against a running worker", total / ours, n, 50, at_least=True)


def scan() -> Iterator[Figure]:
    """The inventory, first filled and then scanned again with 1 % of the keys changed."""
    n = 100_000
    with place(n) as here:
        first = here.work("scan")["scan"]
        here.change(n // 100)
        second = here.work("scan")["scan"]
    yield Figure("seconds of the first scan", first["seconds"], n)
    yield Figure("seconds of it in the merge", first["merge"], n)
    yield Figure("time of a scan with 1 % changed, against the first", second["seconds"] / first["seconds"], n)
    yield Figure("time of its merge, against the first", second["merge"] / first["merge"], n)


BENCHES: dict[str, Callable[[], Iterator[Figure]]] = {
    "calls": calls,
    "memory": memory,
    "wrangler": against_wrangler,
    "scan": scan,
}
