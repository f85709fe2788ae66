"""Reading values from KV with several calls under way.

The calls run in threads that never touch the database: what a call asks of the shared request budget is done by the
thread that waits for the calls, which also keeps its lease meanwhile.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event, Lock
from types import TracebackType
from typing import Self

from kvops import credentials, environments
from kvops.budget import SharedBudget
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, ConfigurationError, Entry, RateLimited
from kvops.models import Environment, Read

SIDE_BY_SIDE = 4
LARGE = 1024 * 1024
"""Bytes of one answer above which only one call is under way at a time, so that memory stays bounded."""

SAMPLE = 20
SAMPLE_ONE_IN = 2_000


@dataclass(frozen=True, slots=True)
class Name:
    """A listed key."""

    index: int
    name: str
    expiration: int | None


class _Relay:
    """The shared budget, asked for by any thread and used in one."""

    def __init__(self, budget: SharedBudget) -> None:
        self._budget = budget
        self._queue: SimpleQueue[tuple[Callable[[], float], Future[float]] | None] = SimpleQueue()
        self._closed = False
        self._closing = Lock()

    def take(self, calls: int = 1) -> float:
        return self._ask(lambda: self._budget.take(calls))

    def observed(self, *, remaining: int | None, reset: float | None, retry_after: float | None) -> None:
        if retry_after or remaining == 0:

            def tell() -> float:
                self._budget.observed(remaining=remaining, reset=reset, retry_after=retry_after)
                return 0.0

            self._ask(tell)

    def _ask(self, act: Callable[[], float]) -> float:
        answer: Future[float] = Future()
        with self._closing:
            if self._closed:
                raise CancelledError
            self._queue.put((act, answer))
        return answer.result()

    def wake(self) -> None:
        """Let `serve` return: a call has ended."""
        self._queue.put(None)

    def serve(self, timeout: float) -> None:
        """Do one thing that was asked for, or wait so many seconds for one."""
        try:
            asked = self._queue.get(timeout=timeout)
        except Empty:
            return
        if asked is None:
            return
        act, answer = asked
        try:
            answer.set_result(act())
        except Exception as error:  # noqa: BLE001  (raised again by the thread that asked, and from there here)
            answer.set_exception(error)

    def close(self) -> None:
        """Turn away who asks from now on, and who waits."""
        with self._closing:
            self._closed = True
        while not self._queue.empty():
            if asked := self._queue.get():
                asked[1].cancel()


class Reader:
    """The reading client of an environment, used by several threads at once; to be used with `with`.

    `keep` is called about once a second while calls are under way. A `patient` reader waits for the request limit
    inside its threads, however long; otherwise RateLimited is raised. Raises ConfigurationError.
    """

    def __init__(self, environment: Environment, keep: Callable[[], None], *, patient: bool = False) -> None:
        try:
            token = credentials.resolve(environment.read_token)
        except credentials.UnresolvedReference as error:
            raise ConfigurationError(f"The read token of {environment.slug} is not there. {error}") from error
        self._keep = keep
        self._patient = patient
        self._over = Event()
        self._relay = _Relay(SharedBudget(environment.account_id))
        self.client = Cloudflare(token=token, **environments.connection(environment, self._relay))
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._relay.close()
        self._pool.shutdown(cancel_futures=True)
        self.client.close()

    def run[T](self, call: Callable[[], T]) -> T:
        """The outcome of one call, of Cloudflare or another, made in a thread."""
        return self._outcome(self._submit(call))

    def all[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """The outcomes of calls made side by side."""
        return [self._outcome(future) for future in [self._submit(call) for call in calls]]

    def values(self, namespace_id: str, names: Iterator[Name], read: str) -> Iterator[tuple[Name, Entry | None]]:
        """Each name with its entry, in order; None for a key that is gone."""
        size = 1 if read == Read.EXACT else BULK_GET_LIMIT
        under_way: deque[tuple[list[Name], Future[dict[str, Entry | None]]]] = deque()
        window = SIDE_BY_SIDE
        try:
            while True:
                while len(under_way) < window and (batch := list(islice(names, size))):
                    under_way.append((batch, self._submit(self._get(namespace_id, batch, read))))
                if not under_way:
                    return
                batch, future = under_way.popleft()
                found = self._outcome(future)
                window = 1 if sum(len(e.data) for e in found.values() if e) > LARGE else SIDE_BY_SIDE
                for name in batch:
                    yield name, found[name.name]
        finally:
            for _, future in under_way:
                future.cancel()

    def differ(self, namespace_id: str, names: Sequence[Name]) -> bool:
        """Whether reading in bulk loses something of these keys: what differs twice is not a write in between."""
        for _ in range(2):
            bulk = dict(self.values(namespace_id, iter(names), Read.BULK))
            exact = dict(self.values(namespace_id, iter(names), Read.EXACT))
            names = [name for name in names if bulk[name] != exact[name]]
        return bool(names)

    def _get(self, namespace_id: str, batch: list[Name], read: str) -> Callable[[], dict[str, Entry | None]]:
        names = [name.name for name in batch]
        if read == Read.EXACT:
            return lambda: {name: self.client.exact_get(namespace_id, name) for name in names}
        return lambda: self.client.bulk_get(namespace_id, names)

    def _submit[T](self, call: Callable[[], T]) -> Future[T]:
        future = self._pool.submit(self._patiently, call) if self._patient else self._pool.submit(call)
        future.add_done_callback(lambda _: self._relay.wake())
        return future

    def _patiently[T](self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except RateLimited as limited:
                if self._over.wait(limited.retry_after):
                    raise

    def _outcome[T](self, future: Future[T]) -> T:
        while not future.done():
            self._relay.serve(timeout=1.0)
            self._keep()
        return future.result()


def sample(seed: str, count: int) -> list[int]:
    """The indexes of `count` names that are read both ways, in order; the same for the same names."""
    size = min(count, SAMPLE + count // SAMPLE_ONE_IN)
    return sorted(random.Random(seed).sample(range(count), size))  # noqa: S311  (repeatable, not secret)
