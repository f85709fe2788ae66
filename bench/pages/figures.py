"""The bench: each page at both installations in turn, so that both share the moods of the machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench.figures import Figure
from bench.pages.sizes import SMALL
from bench.place import ROOT, BenchInstallation, place

TIMES = int(os.environ.get("BENCH_TIMES", "60"))
"""Requests for each page at each installation, after two that warm it up. Of fewer, one stall decides the p95."""
NAMES = 300
"""Keys of the namespace that the fakes serve, for a clean-up by the product's own functions."""
QUERIES, KIB, RATIO = 12, 300, 1.5


def pages(keys: int) -> Iterator[Figure]:
    """The p95 of each page at so many keys against its own at 10,000, its queries and its HTML."""
    with ExitStack() as stack:
        small, large = (stack.enter_context(_asker(stack, name, n)) for name, n in (("small", SMALL), ("large", keys)))
        for name in _answer(small, "pages"):
            yield from _page(name, small, large, keys)


def _page(name: str, small: "subprocess.Popen[str]", large: "subprocess.Popen[str]", keys: int) -> Iterator[Figure]:
    both = small, large
    for asker in both * 2:
        _answer(asker, f"ask {name}")
    spent = [_answer(asker, "spent") for asker in both]
    taken: tuple[list[float], list[float]] = [], []
    for _number in range(TIMES):
        for asker, ms in zip(both, taken, strict=True):
            ms.append(_answer(asker, f"ask {name}"))
    work = [(_answer(asker, "spent") - before) * 1000 / TIMES for asker, before in zip(both, spent, strict=True)]
    before, after = map(p95, taken)
    looked = _answer(large, f"look {name}")
    if "BENCH_SLOWEST" in os.environ:
        print("\n".join(looked["slowest"]), file=sys.stderr, flush=True)
    yield Figure(f"{name}: p95 in ms at {SMALL} keys", before, SMALL)
    yield Figure(f"{name}: p95 in ms", after, keys)
    yield Figure(f"{name}: p95 against its own at {SMALL} keys", after / before, keys, RATIO)
    yield Figure(f"{name}: processor ms, ours and of Postgres", work[1], keys)
    yield Figure(f"{name}: processor time against its own at {SMALL} keys", work[1] / work[0], keys)
    yield Figure(f"{name}: queries", looked["queries"], keys, QUERIES)
    yield Figure(f"{name}: KiB of HTML", looked["bytes"] / 1024, keys, KIB)


def p95(taken: list[float]) -> float:
    """The time within which 95 of 100 requests are answered: the fourth slowest of sixty."""
    return sorted(taken)[-1 - len(taken) // 20]


def _asker(stack: ExitStack, name: str, keys: int) -> "subprocess.Popen[str]":
    """A process that asks for the pages of an installation with so many keys."""
    here = stack.enter_context(place(NAMES, name=name, setup="build_pages"))
    here.work("fill_pages", BENCH_KEYS=str(keys))
    here.work("clean_up")
    return stack.enter_context(_ask_at(here))


def _ask_at(here: BenchInstallation) -> "subprocess.Popen[str]":
    env = {**here.env, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-m", "bench.pages.asking"]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _answer(asker: "subprocess.Popen[str]", line: str) -> Any:
    assert asker.stdin
    assert asker.stdout
    asker.stdin.write(f"{line}\n")
    asker.stdin.flush()
    return json.loads(asker.stdout.readline())


BENCHES = {"pages": pages}
