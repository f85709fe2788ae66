"""Starts the sandbox's processes, shows the wait for each, and stops them in reverse order."""

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
PATIENCE = 600.0
"""Seconds. A busy machine takes minutes to start a server; one that ended is noticed at once."""
_PR_SET_PDEATHSIG = 1


class ProcessFailed(Exception):
    """A process ended or failed unexpectedly; the message has the end of its log."""


class StepFailed(ProcessFailed):
    """A step that runs to its end failed; `reason` is the last line of its log."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Child:
    """A process in its own process group, with its output in a log file. It gets the descriptors `keep`."""

    def __init__(  # noqa: PLR0917  (the words of a command, as Popen has them)
        self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path, keep: Sequence[int] = ()
    ) -> None:
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
                pass_fds=keep,
                # Safe, because all children are started before any thread.
                preexec_fn=end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Raise ProcessFailed if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessFailed(f"{self.name} ended with exit code {code}.\n{tail(self.log)}")

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Send the process a signal. If it does not end within 15 seconds, kill its whole group."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_WITHIN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Supervisor:
    """Owns the children started through it. At the end of the `with` block they are stopped, newest first."""

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
        within: float = PATIENCE,
        keep: Sequence[int] = (),
    ) -> Child:
        """Start a child that stays. Return when it is `ready`; raise ProcessFailed after `within` seconds."""
        child = Child(name, argv, self.logs / f"{name}.log", env, cwd, keep)
        self.children.append(child)
        if ready is not None:
            wait_for(name, ready, child, within)
        return child

    def run(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Run one step to its end, with its output in a log. Raise StepFailed if it fails."""
        with waiting_for(name):
            child = Child(name, argv, self.logs / f"{name}.log", env, cwd)
            self.children.append(child)
            code = child.process.wait()
            self.children.remove(child)
        if code:
            raise StepFailed(f"{name} failed with exit code {code}.\n{tail(child.log)}", f"{name}: {last(child.log)}")

    def check(self) -> None:
        """Raise ProcessFailed if any child has ended."""
        for child in self.children:
            child.check()


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM if the parent dies without stopping its child. Runs in the child before it starts."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_for(name: str, ready: Callable[[], bool], child: Child, within: float) -> None:
    """Wait until `ready` and say so. Raise ProcessFailed if the child dies or `within` seconds pass."""
    deadline = time.monotonic() + within
    with waiting_for(name):
        while not ready():
            child.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{name} is not ready after {within:.0f} s.\n{tail(child.log)}")
            time.sleep(0.05)


@contextlib.contextmanager
def waiting_for(name: str) -> Iterator[None]:
    """Print the name of the step that is waited for and, when it is ready, the seconds it took."""
    started = time.monotonic()
    say(f"waiting for {name} …")
    yield
    say(f"{name}: {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ignore a second Ctrl-C while the children are stopped."""
    held = {sig: signal.signal(sig, signal.SIG_IGN) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sig, handler in held.items():
            signal.signal(sig, handler)


def say(line: str) -> None:
    """Print one line on the terminal, without buffering."""
    print(f"  {line}", flush=True)


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, with its path."""
    text = log.read_text("utf-8", "replace").splitlines()[-lines:]
    return "\n".join([f"--- the end of {log} ---", *text])


def last(log: Path) -> str:
    """The last line of a log, which has the reason of a failure."""
    return next((line for line in reversed(log.read_text("utf-8", "replace").splitlines()) if line.strip()), "")


def remembered_port(memory: Path, *, for_good: bool = False) -> int:
    """The port noted in the file `memory` if it is free, else any free port. Notes the port it returns.

    A port that is `for_good` is stored elsewhere too. If another program has it, raises ProcessFailed.
    """
    noted = [int(memory.read_text())] if memory.exists() else []
    for port in noted if noted and for_good else [*noted, 0]:
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


@contextlib.contextmanager
def listening(memory: Path, preferred: int) -> Iterator[Sequence[socket.socket]]:
    """Sockets that listen on one loopback port, so that no other program takes it before its server starts.

    `localhost` is 127.0.0.1 and, where the machine has it, ::1: the port is free on both. It is the one noted in the
    file `memory`, else `preferred` or any other. Says so if another program has the port, and notes the one it takes.
    """
    noted = [int(memory.read_text())] if memory.exists() else []
    with contextlib.ExitStack() as stack:
        taken = []
        for port in [*noted, preferred, *[0] * 20]:
            if sockets := _listen(port):
                break
            taken.append(port)
        else:
            raise ProcessFailed("No port of this machine is free.")
        for one in sockets:
            stack.enter_context(one)
        port = int(sockets[0].getsockname()[1])
        for other in dict.fromkeys(filter(None, taken)):
            say(f"port {other} is taken by another program; KVOps takes {port}")
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(str(port))
        yield sockets


def _listen(port: int) -> Sequence[socket.socket]:
    """Sockets on this port of every loopback address, or on any port for 0. Empty if another program has it."""
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family == socket.AF_INET6 and not _has_ipv6():
                continue
            one = stack.enter_context(socket.socket(family))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((host, port))
                one.listen(128)
            except OSError:
                return ()
            port = int(one.getsockname()[1])
            sockets.append(one)
        stack.pop_all()
        return sockets


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
