"""Every point of a process at which the outside sees a change: around each commit and each outside call.

The product has no switch for this. `install` puts hooks around three seams of the process it is called in, a child that
was forked for one trial: Django's commits (and statements that change something outside a transaction), the requests of
httpx, and those of botocore. A point has a name: `<job>.<seam>.<what>#<k>.<moment>`, such as
`delete.http.bulk_delete#1.sent`. The moments of a request are `before`, `sent` (its answer is never read) and `after`.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from botocore.httpsession import URLLib3Session
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from urllib3.connection import HTTPConnection

from audit import log
from tests.fakes.cloudflare import route_of

PID = "X-Torture-Pid"
"""A header of every request of such a process, so that the fakes can tell who asked."""
UNSEEN = frozenset({"kvops_heartbeat", "kvops_skew"})
"""Tables whose rows protect nothing: a beat or a look at the clocks more or less is no boundary."""

_WRITES = re.compile(r'(?:INSERT INTO|DELETE FROM|(?<!FOR )(?<!KEY )(?<!DO )UPDATE)\s+"?(\w+)')
_SUFFIXES = {
    ".manifest.json": "manifest",
    ".RESTORE.md": "notes",
    ".digests": "digests",
    ".api-only.json": "api-only",
    ".json": "data",
}


class Boundaries:
    """Counts and names what is passed; `passing` is called with the name of each boundary, in the thread that is there.

    `job` is what the process is doing, set by whoever drives it. `counts`: how often each place was passed.
    """

    def __init__(self, passing: Callable[[str], None]) -> None:
        self.job = "start"
        self.counts: Counter[str] = Counter()
        self._passing = passing
        self._lock = threading.Lock()
        self._tables: set[str] = set()
        self._actions: list[str] = []
        self._asking = threading.local()

    def point(self, seam: str, what: str) -> Callable[[str], None]:
        """The next place of this kind: call what comes back at each of its moments."""
        place = f"{self.job}.{seam}.{what}"
        with self._lock:
            self.counts[place] += 1
            name = f"{place}#{self.counts[place]}"
        return lambda moment: self._passing(f"{name}.{moment}")

    # The database

    def recorded(self, action: str) -> None:
        """An entry that the open transaction will write."""
        self._actions.append(action)

    def statement(
        self, execute: Callable[..., Any], sql: str, params: object, many: bool, context: dict[str, Any]
    ) -> object:
        """Around every statement: what it changes belongs to the open transaction, or is committed at once."""
        tables = set(_WRITES.findall(sql)) - UNSEEN
        if not tables or connection.in_atomic_block:
            self._tables |= tables
            return execute(sql, params, many, context)
        at = self.point("statement", "+".join(sorted(tables)))
        at("before")
        done = execute(sql, params, many, context)
        at("after")
        return done

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Around every commit; one of a transaction that changed nothing is none."""
        what = "+".join(dict.fromkeys(self._actions)) or "+".join(sorted(self._tables))
        changed = bool(self._tables)
        self.forget()
        at = self.point("commit", what) if changed else lambda _moment: None
        at("before")
        yield
        at("after")

    def forget(self) -> None:
        """The transaction is over."""
        self._tables, self._actions = set(), []

    # Outside calls

    @contextmanager
    def request(self, seam: str, what: str) -> Iterator[None]:
        """Around a request; `sent` is to be called when it has left whole."""
        at = self._asking.at = self.point(seam, what)
        at("before")
        yield
        self._asking.at = None
        at("after")

    def sent(self) -> None:
        """The request of this thread has left, and nothing of its answer was read."""
        at = getattr(self._asking, "at", None)
        if at:
            at("sent")


def install(passing: Callable[[str], None], pid: int) -> Boundaries:
    """Hook this process's seams. There is no way back: the process is there for one trial."""
    seen = Boundaries(passing)
    connection.execute_wrappers.append(seen.statement)
    _commits(seen)
    _httpx(seen, str(pid))
    _botocore(seen, str(pid))
    return seen


def _commits(seen: Boundaries) -> None:
    # Their types do not know these two.
    wrapper: Any = BaseDatabaseWrapper
    real_commit, real_rollback, real_write = wrapper._commit, wrapper._rollback, log._write

    def commit(self: BaseDatabaseWrapper) -> None:
        with seen.commit():
            real_commit(self)

    def rollback(self: BaseDatabaseWrapper) -> None:
        seen.forget()
        real_rollback(self)

    def write(drafts: list[Any]) -> None:
        for draft in drafts:
            seen.recorded(draft.action)
        real_write(drafts)

    wrapper._commit, wrapper._rollback, log._write = commit, rollback, write


def _httpx(seen: Boundaries, pid: str) -> None:
    real = httpx.Client.send

    def send(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        def trace(event: str, _info: object) -> None:
            if event == "http11.receive_response_headers.started":
                seen.sent()

        request.headers[PID] = pid
        request.extensions["trace"] = trace
        with seen.request("http", route_of(request.method, request.url.raw_path.decode().partition("?")[0])):
            return real(self, request, **more)

    httpx.Client.send = send  # type: ignore[method-assign]


def _botocore(seen: Boundaries, pid: str) -> None:
    real, real_answer = URLLib3Session.send, HTTPConnection.getresponse

    def send(self: URLLib3Session, request: Any) -> Any:
        request.headers[PID] = pid
        with seen.request("s3", f"{request.method.lower()}-{_kind(request.url)}"):
            return real(self, request)

    def getresponse(self: HTTPConnection) -> Any:
        seen.sent()
        return real_answer(self)

    URLLib3Session.send, HTTPConnection.getresponse = send, getresponse  # type: ignore[method-assign]


def _kind(url: str) -> str:
    key = urlsplit(url).path.removeprefix("/").partition("/")[2]
    return next((kind for suffix, kind in _SUFFIXES.items() if key.endswith(suffix)), "object" if key else "list")
