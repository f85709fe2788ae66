"""Calls to Cloudflare in threads that never touch the database, several under way at once.

The thread that waits for the calls takes their requests from the shared budget, and keeps its lease meanwhile. It
takes some beforehand, so that calls continue while it writes to the database. Requests not sent in the second they
were taken for are given back.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Event, Lock
from types import TracebackType
from typing import Self

from django.db import DatabaseError

from kvops.cloudflare import Cloudflare, ConfigurationError, RateLimited
from kvops.connections import clients, credentials, skew
from kvops.connections.budget import SharedBudget
from kvops.models import Environment, Skew
from kvops.refusals import Sentence as _

SIDE_BY_SIDE = 8
BEFOREHAND = 64
"""Requests. Taken from the budget before a call needs them."""


class _Relay:
    """The shared budget for any thread; only one thread uses it."""

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget
        self._queue: SimpleQueue[tuple[Callable[[], float], Future[float]] | None] = SimpleQueue()
        self._paid = 0
        self._good_until = 0.0
        self._plenty = False
        self._closed = False
        self._lock = Lock()

    def take(self, calls: int = 1) -> float:
        """As SharedBudget.take, from any thread."""
        return 0.0 if self._take_paid(calls) else self._ask(lambda: self._pay(calls))

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """As SharedBudget.observed, from any thread."""
        if self._budget.worth_noting(wait, remaining):

            def tell() -> float:
                self._budget.observed(wait=wait, remaining=remaining)
                return 0.0

            self._ask(tell)

    def _ask(self, act: Callable[[], float]) -> float:
        answer: Future[float] = Future()
        with self._lock:
            if self._closed:
                raise CancelledError
            self._queue.put((act, answer))
        return answer.result()

    def _take_paid(self, calls: int) -> bool:
        with self._lock:
            granted = calls <= self._paid and time.monotonic() < self._good_until
            self._paid -= calls if granted else 0
        return granted

    def wake(self) -> None:
        """Let `serve` return, because a call has ended."""
        self._queue.put(None)

    def serve(self, timeout: float) -> None:
        """Do everything the threads asked for. If nothing is asked, wait up to `timeout` seconds."""
        try:
            asked = [self._queue.get(timeout=timeout)]
            while not self._queue.empty():
                asked.append(self._queue.get_nowait())
        except Empty:
            return
        for act, answer in filter(None, asked):
            try:
                answer.set_result(act())
            except Exception as error:  # noqa: BLE001  (raised again by the thread that asked, and from there here)
                answer.set_exception(error)
        if self._plenty and (self._paid < BEFOREHAND // 2 or time.monotonic() >= self._good_until):
            self._pay(0)

    def _pay(self, calls: int) -> float:
        """Take `calls` requests and, while the budget has plenty, some beforehand."""
        if calls and self._take_paid(calls):
            return 0.0
        self.give_back()
        asked_at = time.monotonic()
        self._plenty = self._budget.take(calls + BEFOREHAND) == 0.0
        if not self._plenty:
            return self._budget.take(calls) if calls else 0.0
        with self._lock:
            self._paid, self._good_until = BEFOREHAND, asked_at + self._budget.good_for
        return 0.0

    def give_back(self) -> None:
        """Return the requests taken beforehand and not used."""
        with self._lock:
            unused, self._paid = self._paid, 0
        if unused:
            self._budget.give_back_last(unused)

    def close(self) -> None:
        """Cancel the threads that wait, and those that ask from now on."""
        with self._lock:
            self._closed = True
        while not self._queue.empty():
            if asked := self._queue.get():
                asked[1].cancel()


class Calls:
    """The reading client of an environment, used by several threads at once, with `with`.

    `keep` is called about once a second while calls are under way. If `patient`, calls wait for the request limit
    inside their threads, however long; otherwise RateLimited is raised. Raises ConfigurationError.
    """

    def __init__(self, environment: Environment, keep: Callable[[], None], *, patient: bool = False) -> None:
        try:
            token = credentials.resolve(environment.read_token)
        except credentials.UnresolvedReference as error:
            raise ConfigurationError(
                _(
                    "The read token of %(environment)s is not there. %(error)s",
                    environment=environment.slug,
                    error=error,
                )
            ) from error
        self._environment = environment
        self._keep = keep
        self._patient = patient
        self._over = Event()
        self._relay = _Relay(SharedBudget.of(environment))
        self.client = Cloudflare(token=token, **clients.connection(environment, self._relay))
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._aside = ThreadPoolExecutor(1)  # for calls that cannot wait behind the submitted ones

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._relay.close()
        self._pool.shutdown(cancel_futures=True)
        self._aside.shutdown(cancel_futures=True)
        self.client.close()
        if not isinstance(error, DatabaseError):
            self._relay.give_back()
        if error is None:
            skew.measure(self._environment, Skew.Service.CLOUDFLARE, self.client.time())

    def run[T](self, call: Callable[[], T]) -> T:
        """The result of one call, to Cloudflare or elsewhere, made at once in a thread of its own."""
        return self.outcome(self._submit(self._aside, call))

    def all[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """The results of calls made side by side."""
        return [self.outcome(future) for future in [self.submit(call) for call in calls]]

    def submit[T](self, call: Callable[[], T]) -> Future[T]:
        """Let a call begin in a thread as soon as one is free."""
        return self._submit(self._pool, call)

    def _submit[T](self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> Future[T]:
        future = pool.submit(self._patiently, call) if self._patient else pool.submit(call)
        future.add_done_callback(lambda _: self._relay.wake())
        return future

    def outcome[T](self, future: Future[T]) -> T:
        """The result of a call. Keeps the lease until then."""
        while not future.done():
            self._relay.serve(timeout=1.0)
            self._keep()
        return future.result()

    def _patiently[T](self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except RateLimited as limited:
                if self._over.wait(limited.retry_after):
                    raise
