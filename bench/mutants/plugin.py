"""Runs the gate's tests once to see which function each of them reaches, then once for each mutant, in a fork."""

import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from types import CodeType

import pytest
from django.db import connections

from bench.mutants.making import Mutant, function

TOOL = sys.monitoring.PROFILER_ID
PATIENCE = 30.0
"""Seconds for the tests of a mutant, beyond twenty times what they take; a mutant that takes longer hangs."""

PREPARED = 60
"""How many tests that reach a function only in their fixtures are tried on its mutants."""
LAST = 250
"""The highest exit code of a fork: of the test of this number, and of those after it."""
KILLED, SURVIVED, HANGS = "killed", "survived", "hangs"


class Plugin:
    """`found(mutant, how)` is called for each as it is done. Tests that commit are left out: they empty tables."""

    def __init__(self, mutants: Sequence[Mutant], found: Callable[[Mutant, str], None]) -> None:
        self._mutants, self._found = mutants, found
        self._failed = False
        self._kills: Counter[tuple[CodeType, pytest.Item | None]] = Counter()
        self._reached: dict[CodeType, dict[pytest.Item, bool]] = defaultdict(dict)
        self._in_body = False
        self._seconds: dict[pytest.Item, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self._failed |= report.failed

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None]:
        """Tell a test's own lines from those that prepare it."""
        self._in_body = True
        try:
            yield
        finally:
            self._in_body = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests."""
        items = [item for item in session.items if not _commits(item)]
        self._explore(items)
        if self._failed:
            raise session.Failed("The tests fail without a mutant.")
        connections.close_all()
        for mutant in self._mutants:
            code = function(mutant.module, mutant.function).__code__
            how, by = self._judge(mutant, self._order(code))
            self._kills[code, by] += by is not None
            self._found(mutant, how)
        return True

    def _explore(self, items: Sequence[pytest.Item]) -> None:
        """Run all, noting what each reaches. The fixtures of the session stay, for the forks."""
        current: list[pytest.Item] = []

        def reached(code: CodeType, _offset: int) -> None:
            if current:
                of = self._reached[code]
                of[current[-1]] = of.get(current[-1], False) or self._in_body

        sys.monitoring.use_tool_id(TOOL, "mutants")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.PY_START, reached)
        for code in {function(mutant.module, mutant.function).__code__ for mutant in self._mutants}:
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.PY_START)
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            current.append(item)
            begun = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._seconds[item] = time.monotonic() - begun
        sys.monitoring.free_tool_id(TOOL)

    def _order(self, code: CodeType) -> list[pytest.Item]:
        """Whichever test noticed others of the same function first; then the quick ones.

        Those that are only prepared with the help of it see less of what it does, and there are many.
        """
        items = sorted(self._reached[code], key=lambda item: (-self._kills[code, item], self._seconds[item]))
        own = [item for item in items if self._reached[code][item]]
        return [*own, *[item for item in items if item not in own][:PREPARED]]

    def _judge(self, mutant: Mutant, items: Sequence[pytest.Item]) -> tuple[str, pytest.Item | None]:
        pid = os.fork()
        if not pid:
            self._be(mutant, items)
        deadline = time.monotonic() + PATIENCE + 20 * sum(self._seconds[item] for item in items)
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return (KILLED, items[code - 1] if 0 < code < LAST else None) if code else (SURVIVED, None)
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return HANGS, None

    def _be(self, mutant: Mutant, items: Sequence[pytest.Item]) -> None:
        """In the fork: run the tests until one fails, and end the process."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            mutant.take_its_place()
            for number, (item, following) in enumerate(zip(items, [*items[1:], *items[:1]], strict=True), 1):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    os._exit(min(number, LAST))
            os._exit(0)
        except BaseException:  # noqa: BLE001 # a mutant may do anything
            os._exit(LAST)


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return marker is not None and bool(marker.kwargs.get("transaction"))
