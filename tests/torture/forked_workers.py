"""Forks children that work on a job: a process with Django loaded, one thread and no connection."""

import ctypes
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

DONE, STUCK, BROKEN = 0, 3, 4
"""How a child ends by itself."""
FIRST_CHUNK = 3
"""Keys in a stage's first chunk, where the product takes 100."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Order:
    """What a child is to do: which job where, how long it may find nothing to do, and what happens at which boundary.

    `at`: the boundaries at the first of which it sends itself `signal`. `struck`: a file that then says which one it
    was and how often every place was passed, and which a child after it counts on from. `record`: a file for the names
    of all it passes.
    """

    job: str
    database: str
    env: Mapping[str, str]
    log: str
    quiet: float = 30.0
    at: Sequence[str] = ()
    struck: str = ""
    signal: int = signal.SIGKILL
    record: str = ""


@dataclass(frozen=True)
class End:
    """How a child ended: `code` as `subprocess` has it, or `stopped`; None while it runs."""

    code: int | None = None
    stopped: bool = False


class Children:
    """The parent's side. Make it while the process has one thread and no connection."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            _serve(theirs)
        theirs.close()
        self._socket = mine
        self._lines = mine.makefile("r")
        self._alive: set[int] = set()

    def fork(self, order: Order) -> int:
        """A child that begins with this now; its process id."""
        pid = int(self._ask({"fork": asdict(order)}))
        self._alive.add(pid)
        return pid

    def wait(self, pid: int, seconds: float) -> End:
        """How the child ended or that it stopped; None in `code` when it does neither within so many seconds."""
        end = End(**self._ask({"wait": pid, "seconds": seconds}))
        if end.code is not None:
            self._alive.discard(pid)
        return end

    def kill_all(self) -> None:
        """End what still runs."""
        for pid in list(self._alive):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.wait(pid, 10.0)

    def close(self) -> None:
        """End everything."""
        self.kill_all()
        self._socket.shutdown(socket.SHUT_RDWR)
        os.waitpid(self.pid, 0)

    def _ask(self, asked: Mapping[str, Any]) -> Any:
        self._socket.sendall(json.dumps(asked).encode() + b"\n")
        return json.loads(self._lines.readline())


def _serve(orders: socket.socket) -> None:
    """The forking process: one order after the other until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    with orders.makefile("r") as lines:
        for line in lines:
            match json.loads(line):
                case {"fork": order}:
                    answer: object = _fork(Order(**order), orders)
                case {"wait": pid, "seconds": seconds}:
                    answer = asdict(_wait(pid, seconds))
            orders.sendall(json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _load() -> None:
    """Everything a child will need, so that it need not load it."""
    from django.urls import reverse  # noqa: PLC0415
    from django.utils import translation  # noqa: PLC0415

    from backups.bucket.r2 import R2Store  # noqa: PLC0415
    from backups.cleanup import evidence as cleanup_evidence  # noqa: PLC0415
    from backups.deletion import chunks as deletion_chunks  # noqa: PLC0415
    from tests.torture import boundaries  # noqa: F401, PLC0415

    # So that a handful of keys goes through everything that more than a hundred would.
    for module in (deletion_chunks, cleanup_evidence):
        vars(module)["FIRST_CHUNK"] = FIRST_CHUNK
    # Addresses and the words of messages.
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            reverse("backups:backups")
            translation.gettext("Approve")
    R2Store(
        endpoint="http://127.0.0.1:9", bucket="x", access_key_id="x", secret_access_key="x", allowed_hosts=["127.0.0.1"]
    ).close()


def _fork(order: Order, orders: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        orders.close()
        # Also one that is stopped must not outlive the trials.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os._exit(_child(order))
    return pid


def _wait(pid: int, seconds: float) -> End:
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found and os.WIFSTOPPED(status):
            return End(stopped=True)
        if found:
            return End(code=os.waitstatus_to_exitcode(status))
        if time.monotonic() > end:
            return End()
        time.sleep(0.03)


def _child(order: Order) -> int:
    output = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order.env)
    settings.DATABASES["default"]["NAME"] = order.database
    connections["default"].settings_dict["NAME"] = order.database
    try:
        return _work(order)
    except BaseException:  # noqa: BLE001  (told by the exit code and the log)
        traceback.print_exc()
        return BROKEN
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _work(order: Order) -> int:
    from tests.torture import boundaries, clicks  # noqa: PLC0415

    passed: list[str] = []

    def passing(name: str) -> None:
        passed.append(name)
        if name in order.at:
            if order.struck:
                Path(order.struck).write_text(json.dumps([name, seen.counts]), "utf-8")
            os.kill(os.getpid(), order.signal)
            # Who was paused and may go on ends what it was doing, no more.
            job.leaving = True

    seen = boundaries.install(passing, os.getpid())
    if order.struck and Path(order.struck).exists():
        seen.counts.update(json.loads(Path(order.struck).read_text("utf-8"))[1])
    try:
        job = import_string(order.job)(lambda doing: setattr(seen, "job", doing))
        job.run(order.quiet)
    except clicks.Stuck as stuck:
        print(stuck, file=sys.stderr)
        return STUCK
    finally:
        if order.record:
            Path(order.record).write_text(json.dumps(passed), "utf-8")
    return DONE
