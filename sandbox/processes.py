"""Starts the sandbox's processes, waits for them where people can see it, and stops them in reverse order."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_WITHIN = 15.0
_PR_SET_PDEATHSIG = 1


class ProcessFailed(Exception):
    """A process ended that should not have; the message has the end of its log."""


class Child:
    """A process in a group of its own, whose output goes to a log file."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Safe: children are started before any thread is.
                preexec_fn=end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Raise ProcessFailed when the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessFailed(f"{self.name} ended with exit code {code}.\n{tail(self.log)}")

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, then end its whole group if it takes longer than 15 seconds."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_WITHIN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Supervisor:
    """Owns the children started through it; leaving the `with` block stops them, the newest first."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with signals_held():
            while self.children:
                child = self.children.pop()
                say(f"stopping {child.name}")
                child.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        ready: Callable[[], bool] | None = None,
        within: float = 60.0,
    ) -> Child:
        """Start a child that stays; returns when it is `ready`, raises ProcessFailed after `within` seconds."""
        child = Child(name, argv, self.logs / f"{name}.log", env, cwd)
        self.children.append(child)
        if ready is not None:
            wait_for(name, ready, child, within)
        return child

    def run(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Run one step to its end, its output in a log; raises ProcessFailed when it fails."""
        with waiting_for(name):
            child = Child(name, argv, self.logs / f"{name}.log", env, cwd)
            self.children.append(child)
            code = child.process.wait()
            self.children.remove(child)
        if code:
            raise ProcessFailed(f"{name} failed with exit code {code}.\n{tail(child.log)}")

    def check(self) -> None:
        """Raise ProcessFailed when any child has ended."""
        for child in self.children:
            child.check()


def end_with_parent() -> None:
    """In a child before it starts: ask the kernel for SIGTERM when the parent dies without stopping it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_for(name: str, ready: Callable[[], bool], child: Child, within: float) -> None:
    """Wait until `ready`, showing it; raises ProcessFailed when the child dies or `within` seconds pass."""
    deadline = time.monotonic() + within
    with waiting_for(name):
        while not ready():
            child.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{name} is not ready after {within:.0f} s.\n{tail(child.log)}")
            time.sleep(0.05)


@contextlib.contextmanager
def waiting_for(name: str) -> Iterator[None]:
    """Say what is being waited for and, when it is there, how long that took."""
    started = time.monotonic()
    say(f"waiting for {name} …")
    yield
    say(f"{name}: {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the stopping."""
    held = {sig: signal.signal(sig, signal.SIG_IGN) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sig, handler in held.items():
            signal.signal(sig, handler)


def say(line: str) -> None:
    """One line on the terminal, at once."""
    print(f"  {line}", flush=True)


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, with its path."""
    text = log.read_text("utf-8", "replace").splitlines()[-lines:]
    return "\n".join([f"--- the end of {log} ---", *text])


def answers(port: int) -> Callable[[], bool]:
    """A probe: whether something accepts connections on a loopback port."""

    def probe() -> bool:
        with socket.socket() as connection:
            connection.settimeout(1.0)
            return connection.connect_ex(("127.0.0.1", port)) == 0

    return probe


def remembered_port(memory: Path, preferred: int = 0, *, for_good: bool = False) -> int:
    """The port noted in the file `memory` if it is still free, else `preferred` or any, noted for the next time.

    A port that is `for_good` is noted elsewhere too: raises ProcessFailed when another program has it.
    """
    noted = [int(memory.read_text())] if memory.exists() else []
    for port in noted if noted and for_good else [*noted, preferred, 0]:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            free = int(listener.getsockname()[1])
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(str(free))
        return free
    raise ProcessFailed(
        f"Port {port} is taken by another program. Stop that one, or start over with `make demo RESET=1`."
    )
