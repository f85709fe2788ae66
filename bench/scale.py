"""The benches of scale, against the quick fake at 50 ms a call; each takes how many keys there are.

What a figure is held against is measured in the same run; `README.md` says what each of them means.
"""

import tempfile
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

from bench import sdk, wrangler
from bench.figures import RATE, Figure
from bench.place import BenchInstallation, answer_of, place
from bench.tables import write_rows

LATENCY = 0.05  # seconds
FEW = 10_000
BUDGET = {"BENCH_CALLS": "960", "BENCH_WINDOW": "300"}
TENFOLD = {"BENCH_CALLS": "9600", "BENCH_WINDOW": "300", "KVOPS_TIME_SCALE": "0.1"}
"""Ten times the budget, and every duration of ours a tenth."""


def listing(keys: int) -> Iterator[Figure]:
    """The listing of a scan against the loop anybody would write."""
    with place(keys, latency=LATENCY) as here:
        bare = here.bare("list", keys)["seconds"]
        done = here.work("scan")
    yield Figure("seconds of a bare httpx loop over the pages", bare, keys)
    yield Figure("time of a scan's listing, against it", done["scan"]["listing"] / bare, keys, 1.1)
    yield Figure("time of the whole scan, against it", done["scan"]["seconds"] / bare, keys)
    yield Figure("peak MiB of a scan", done["process"]["peak_kib"] / 1024, keys, 256)


def export(keys: int) -> Iterator[Figure]:
    """A routine copy, its listing and sample included, against loops that list and read the same and keep nothing."""
    peaks = {}
    for n in FEW, keys:
        with place(n, latency=LATENCY) as here:
            bare = here.bare("list", n)["seconds"], here.bare("get", n)["seconds"]
            here.calls()
            done = here.work("backup")
            counted = here.calls()
            peaks[n] = done["process"]["peak_kib"] / 1024
    yield Figure("seconds of a bare httpx loop over the pages", bare[0], keys)
    yield Figure("seconds of a bare loop over the values, 8 calls at a time", bare[1], keys)
    yield Figure("seconds of an export", done["backup"]["seconds"], keys)
    yield Figure("time of an export, against both loops", done["backup"]["seconds"] / sum(bare), keys, 1.25)
    yield Figure(
        "calls of an export, against those of both loops",
        _calls(counted) / (ceil(keys / 1000) + ceil(keys / 100)),
        keys,
    )
    yield Figure("peak MiB of an export", peaks[keys], keys, 256)
    yield Figure(f"peak memory of an export, against {FEW} keys", peaks[keys] / peaks[FEW], keys, 1.3)


def _calls(counted: dict[str, int]) -> int:
    return sum(counted.values())


def rate(keys: int) -> Iterator[Figure]:
    """An export of 3,000 calls at the real budget, in real time, judged by the fake's journal."""
    del keys  # the time is what it takes, so the number of calls is fixed
    n = 270_000
    with place(n, latency=LATENCY) as here:
        here.work("backup", **BUDGET)
        journal = here.journal(300)[0]
    ideal = (journal["calls"] - 1) // 960 * 300
    yield Figure("calls at 960 in 300 s", journal["calls"], n, 3000, at_least=True)
    yield Figure("minutes they took", journal["seconds"] / 60, n)
    yield Figure("the shortest time the limit permits, against it", ideal / journal["seconds"], n, 0.97, at_least=True)
    yield Figure("most calls in any 300 s", journal["most"], n, 960)


def merge(keys: int) -> Iterator[Figure]:
    """The inventory against COPY of the same rows into a table with the same columns, constraints and indexes."""
    with place(keys, latency=0) as here:
        first = here.work("scan", "copy")
        here.change(keys // 100)
        again = here.work("scan")["scan"]
    scan, copied = first["scan"], first["copy"]["seconds"]
    yield Figure("rows/s of COPY into a table like the inventory", keys / copied, keys)
    yield Figure("rows/s of the merge", keys / scan["merge"], keys)
    yield Figure("speed of the merge, against COPY", copied / scan["merge"], keys, 0.4, at_least=True)
    yield Figure("speed of staging and merge, against COPY", copied / (scan["merge"] + scan["staging"]), keys)
    yield Figure(
        "time of the merge of a scan with 1 % changed, against the first", again["merge"] / scan["merge"], keys, 0.5
    )
    yield Figure("time of the whole scan without latency, against the first", again["seconds"] / scan["seconds"], keys)


def deletion(keys: int) -> Iterator[Figure]:
    """The deletion of every key at ten times the budget, against the arithmetic of the calls it takes."""
    yield from _deletion(keys, TENFOLD, 10)


def deletion_unscaled(keys: int) -> Iterator[Figure]:
    """The same at the real budget, in real time."""
    yield from _deletion(keys, BUDGET, 1)


def _deletion(keys: int, world: dict[str, str], times: int) -> Iterator[Figure]:
    with place(keys, latency=LATENCY) as here:
        here.work("scan")
        here.work("prepare", KVOPS_TIME_SCALE=f"{1 / times}")
        here.calls()
        done = here.work("submit", "delete", **world)
        journal = here.journal(300)[0]
    routes = journal["routes"]
    needed = ceil(keys / 100) + ceil((keys - 100) / 1000) + 1 + 2
    arithmetic = needed / (times * RATE) + 2 * 60 / times
    yield Figure("keys gone, by the fake", journal["gone"], keys, keys, at_least=True)
    yield Figure("deletes of what was not there", journal["twice"], keys, 0)
    yield Figure("calls, against those needed", journal["calls"] / needed, keys)
    yield Figure("calls that deleted", routes["bulk_delete"], keys)
    yield Figure(f"seconds of the deletion and its proof at {times} x the budget", journal["seconds"], keys)
    yield Figure(
        "time of it, against needed calls at the rate and two settle times", journal["seconds"] / arithmetic, keys, 1.1
    )
    yield Figure("most calls in any 300 s", journal["most"], keys, 960 * times)
    for name in "p50", "p99", "max":
        yield Figure(f"ms from the oldest read to the delete, {name}", done["delete"][f"gap_{name}"], keys, 5000)


def workers(keys: int) -> Iterator[Figure]:
    """Copies of two accounts by two workers, each on its own budget of ten times the rate, against one."""
    alone, both = (_backups(keys, slugs) for slugs in (("bench",), ("bench", "bench2")))
    yield Figure("seconds of a copy by one worker at 10 x the budget", alone, keys)
    yield Figure("keys/s of two workers on two budgets, against one", 2 * alone / both, keys, 1.8, at_least=True)


def _backups(keys: int, slugs: tuple[str, ...]) -> float:
    with place(keys, latency=LATENCY) as here:
        working = [here.start("backup", BENCH_SLUG=slug, **TENFOLD) for slug in slugs]
        seconds: list[float] = [answer_of(process)["backup"]["seconds"] for process in working]
    return max(seconds)


def others(keys: int) -> Iterator[Figure]:
    """The same copy with Cloudflare's SDK and with wrangler, neither of which proves or keeps anything."""
    with place(keys, latency=LATENCY) as here:
        ours = here.work("backup")["backup"]["seconds"]
        yield Figure("seconds of an export", ours, keys)
        yield from _sdk(here, keys, ours)
        by_hand = wrangler.backup(here, keys)
    total = by_hand.listing + by_hand.reading
    yield Figure(f"wrangler's time ({by_hand.note}), against an export", total / ours, keys)


def _sdk(here: BenchInstallation, keys: int, ours: float) -> Iterator[Figure]:
    try:
        done = sdk.backup(here)
    except sdk.NotInstallable as missing:
        yield Figure(f"the SDK was not measured: {missing}", 0, keys)
        return
    assert done["keys"] == keys
    yield Figure("seconds of it by Cloudflare's Python SDK, 8 calls at a time", done["seconds"], keys)
    yield Figure("the SDK's time, against an export", done["seconds"] / ours, keys)


def storage(keys: int) -> Iterator[Figure]:
    """The listing of a bucket of so many objects, another that finds nothing changed, the look, and the pages."""
    done = {}
    for n in FEW, keys:
        with place(0, objects=n) as here:
            first = here.work("reconcile")
            again = here.work("reconcile")["reconcile"]
            pages = here.work("pages", DJANGO_SETTINGS_MODULE="tests.settings")["pages"]
            here.calls()
            here.work("look")
            done[n] = first, again, pages, here.calls()["listings"]
    (first, again, pages, listings), few = done[keys], done[FEW]
    peak, peak_of_few = (one[0]["process"]["peak_kib"] / 1024 for one in (done[keys], few))
    yield Figure("seconds of the first listing", first["reconcile"]["seconds"], keys)
    yield Figure("seconds of settling it", first["reconcile"]["settling"], keys)
    yield Figure("peak MiB of a listing", peak, keys, 256)
    yield Figure(f"peak memory of a listing, against {FEW} objects", peak / peak_of_few, keys, 1.3)
    settling = again["settling"] / first["reconcile"]["settling"]
    yield Figure("settling a listing that changed nothing, against the first", settling, keys, 0.5)
    yield Figure("listing calls of a look for the newest manifest", listings, keys, 10)
    for what, ms in pages.items():
        yield Figure(f"ms of a page, {what}", ms, keys)
        yield Figure(f"time of a page, {what}, against {FEW} objects", ms / few[2][what], keys, 2)


def checks(keys: int) -> Iterator[Figure]:
    """`verify_masters` on a file of so many rows, against a loop over the same pages of D1."""
    with tempfile.TemporaryDirectory(prefix="kvops-bench-") as folder, place(0, latency=LATENCY, rows=keys) as here:
        file = Path(folder) / "masters.json"
        write_rows(file, keys)
        bare = here.bare("table", keys)["seconds"]
        done = here.work("verify_masters", BENCH_FILE=str(file))
    verified = done["verify_masters"]
    yield Figure("rows compared", verified["rows"], keys, keys, at_least=True)
    yield Figure("differences where there are none", verified["differences"], keys, 0)
    yield Figure("seconds of a bare httpx loop over the pages", bare, keys)
    yield Figure("seconds of verify_masters", verified["seconds"], keys)
    yield Figure("processor seconds of the process of verify_masters", done["process"]["processor"], keys)
    yield Figure("time of verify_masters, against the loop", verified["seconds"] / bare, keys, 1.6)
    yield Figure("peak MiB of verify_masters", done["process"]["peak_kib"] / 1024, keys, 256)


BENCHES: dict[str, Callable[[int], Iterator[Figure]]] = {
    "listing": listing,
    "export": export,
    "rate": rate,
    "merge": merge,
    "deletion": deletion,
    "deletion_unscaled": deletion_unscaled,
    "workers": workers,
    "others": others,
    "storage": storage,
    "checks": checks,
}
