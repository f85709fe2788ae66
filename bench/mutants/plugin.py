"""Runs the gate's tests once to see which function each of them reaches, then on its mutants, each in a fork.

First each test is prepared once, and its own lines run on every mutant that they reach: a fork goes on with the open
transaction, and a savepoint takes back its writes. The fakes stand still meanwhile: the fork answers from its own copy
of them. Whatever is left runs whole tests whose preparation reaches it.

States that many tests begin with are built once (`tests/prepared.py`): what a step of them reaches counts for each test
that begins with it. A fork never meets a state of the original: it builds its own, once for all tests that it runs.
"""

import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from types import CodeType
from typing import Any

import pytest
from django.db import connection, connections

from bench.mutants.making import Mutant, function
from tests.fakes.http import Listener
from tests.prepared import Prepared

TOOL = sys.monitoring.PROFILER_ID
PATIENCE = 30
"""Seconds for a test of a mutant, beyond ten times its usual time; a mutant that takes longer hangs."""

FEW = 5
"""How many mutants of a function a test may leave unnoticed, until it is put off for the others of the function."""
PREPARED = 60
"""How many tests that reach a function only in their fixtures are tried on its mutants."""
LAST = 250
"""The highest exit code of a fork: of the test of this number, and of those after it."""
KILLED, SURVIVED, HANGS = "killed", "survived", "hangs"


class Plugin:
    """`found(mutant, how, by)` is called for each as it is done. Tests that commit are left out: they empty tables."""

    def __init__(self, mutants: Sequence[Mutant], found: Callable[[Mutant, str, pytest.Item | None], None]) -> None:
        self._mutants, self._found = mutants, found
        self._codes = {mutant: function(mutant.module, mutant.function).__code__ for mutant in mutants}
        self._failed = False
        self._kills: Counter[tuple[CodeType, pytest.Item | None]] = Counter()
        self._reached: dict[CodeType, dict[pytest.Item, set[bool]]] = defaultdict(lambda: defaultdict(set))
        self._in_body = False
        self._seconds: dict[pytest.Item, float] = {}
        self._left: dict[Mutant, None] = {}
        self._tried: set[tuple[Mutant, pytest.Item]] = set()
        self._put_off: set[tuple[Mutant, pytest.Item]] = set()
        self._few = FEW

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self._failed |= report.failed

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Tell a test's own lines from those that prepare it, and run them on each mutant first."""
        self._in_body = True
        try:
            if not self._in_fork_of(item):
                yield
                return
            try:
                yield
            except pytest.skip.Exception:
                os._exit(0)
            except BaseException:  # noqa: BLE001 # a mutant may do anything
                os._exit(1)
            os._exit(0)
        finally:
            self._in_body = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests."""
        items = [item for item in session.items if not _commits(item)]
        begun = time.monotonic()
        self._explore(items)
        print(f"{len(items)} tests explored in {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True)
        self._left = dict.fromkeys(self._mutants)
        modules = {mutant.module for mutant in self._mutants}
        items.sort(key=lambda item: (not any(_imports(item, module) for module in modules), self._seconds[item]))
        for few in (FEW, len(self._mutants)):
            self._few = few
            self._put_off.clear()
            for item, following in zip(items, [*items[1:], items[0]], strict=True):
                while self._reached_by(item) and not self._failed:
                    session._setupstate.teardown_exact(item)  # the test that was said to follow may be left out
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if self._failed:
            raise session.Failed("The tests fail without a mutant.")
        session._setupstate.teardown_exact(items[0])
        connections.close_all()
        print(
            f"{len(self._left)} mutants are left after {time.monotonic() - begun:.0f} s.", file=sys.stderr, flush=True
        )
        for mutant in self._left:
            code = self._codes[mutant]
            how, by = self._judge(mutant, self._order(code, mutant.module))
            self._kills[code, by] += by is not None
            self._found(mutant, how, by)
        return True

    def _reached_by(self, item: pytest.Item) -> list[Mutant]:
        """The mutants left that the test's own lines reach, that it was not tried on, and that are not put off."""
        return [
            mutant
            for mutant in self._left
            if (mutant, item) not in self._tried
            and (mutant, item) not in self._put_off
            and True in self._reached[self._codes[mutant]].get(item, ())
        ]

    def _in_fork_of(self, item: pytest.Item) -> bool:
        """Try the prepared test on each mutant in a fork; True in the fork."""
        unnoticed: Counter[CodeType] = Counter()
        for mutant in self._reached_by(item):
            if unnoticed[self._codes[mutant]] >= self._few:
                self._put_off.add((mutant, item))
                continue
            self._tried.add((mutant, item))
            _within_transaction("SAVEPOINT mutant")
            fakes = list(Listener.taking)
            for fake in fakes:
                fake.pause()
            pid = os.fork()
            if not pid:
                Prepared.used = False
                _become(mutant)
                _start(fakes)
                signal.alarm(self._patience(item))
                return True
            how, _ = _outcome(pid)
            _start(fakes)
            unnoticed[self._codes[mutant]] += 1 if how == SURVIVED else -self._few
            if how != SURVIVED:
                del self._left[mutant]
                self._found(mutant, how, item)
            if how == HANGS:
                connection.close()  # a statement of it may be open
                pytest.skip("A mutant hung.")
            _within_transaction("ROLLBACK TO SAVEPOINT mutant")
        return False

    def _patience(self, item: pytest.Item) -> int:
        return PATIENCE + int(10 * self._seconds[item])

    def _explore(self, items: Sequence[pytest.Item]) -> None:
        """Run all, noting what each reaches. The fixtures of the session stay, for the forks."""
        current: list[pytest.Item] = []
        building: list[set[CodeType]] = [set()]
        kept: dict[int, tuple[object, set[CodeType]]] = {}
        plain = Prepared._step

        def reached(code: CodeType, _offset: int = 0) -> None:
            building[-1].add(code)
            if current:
                self._reached[code][current[-1]].add(self._in_body)

        def step(of: Prepared, *about: Any) -> Any:
            building.append(set())
            try:
                return plain(of, *about)
            finally:
                codes = building.pop()
                if of._at is not None:
                    _, codes = kept.setdefault(id(of._at), (of._at, codes))
                for code in codes:
                    reached(code)

        sys.monitoring.use_tool_id(TOOL, "mutants")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.PY_START, reached)
        for code in set(self._codes.values()):
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.PY_START)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Prepared, "_step", step)
            for item, following in zip(items, [*items[1:], items[0]], strict=True):
                current.append(item)
                begun = time.monotonic()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                self._seconds[item] = time.monotonic() - begun
        sys.monitoring.free_tool_id(TOOL)

    def _order(self, code: CodeType, module: str) -> list[pytest.Item]:
        """Whichever test noticed others of the same function first; then those next to the module; then the quick ones.

        Their own lines have run already. Those that are only prepared with the help of it see less of what it does, and
        there are many.
        """
        items = sorted(
            (item for item, where in self._reached[code].items() if False in where),
            key=lambda item: (-self._kills[code, item], not _imports(item, module), self._seconds[item]),
        )
        own = [item for item in items if True in self._reached[code][item]]
        return [*own, *[item for item in items if item not in own][:PREPARED]]

    def _judge(self, mutant: Mutant, items: Sequence[pytest.Item]) -> tuple[str, pytest.Item | None]:
        pid = os.fork()
        if not pid:
            self._be(mutant, items)
        how, code = _outcome(pid)
        return how, items[code - 1] if how == KILLED and code < LAST else None

    def _be(self, mutant: Mutant, items: Sequence[pytest.Item]) -> None:
        """In the fork: run the tests until one fails, and end the process."""
        _become(mutant)
        try:
            for number, (item, following) in enumerate(zip(items, [*items[1:], *items[:1]], strict=True), 1):
                signal.alarm(self._patience(item))
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    os._exit(min(number, LAST))
            os._exit(0)
        except BaseException:  # noqa: BLE001 # a mutant may do anything
            os._exit(LAST)


def _become(mutant: Mutant) -> None:
    """In the fork: say nothing any more, and let the mutant take its place."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        mutant.take_its_place()
    except BaseException:  # noqa: BLE001 # a mutant that is no code
        os._exit(LAST)


def _start(fakes: Sequence[Listener]) -> None:
    for fake in fakes:
        fake.start()


def _outcome(pid: int) -> tuple[str, int]:
    """What became of a fork, and its exit code."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return HANGS, LAST
    return (KILLED, code if code > 0 else LAST) if code else (SURVIVED, 0)


def _within_transaction(statement: str) -> None:
    """Past Django, which may have given the transaction up."""
    if connection.in_atomic_block:
        connection.connection.execute(statement)


def _imports(item: pytest.Item, module: str) -> bool:
    """Whether the test's file imports the module, or something out of it."""
    file = item.getparent(pytest.Module)
    found = vars(file.obj).values() if file else ()
    return any(one is sys.modules[module] or getattr(one, "__module__", "") == module for one in found)


def _commits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    return marker is not None and bool(marker.kwargs.get("transaction"))
