"""Reading values from KV with several calls under way, ahead of the caller and within bounded memory."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count, islice
from threading import Condition
from types import TracebackType

from kvops.cloudflare import BULK_GET_LIMIT, KvEntry, NameRefused
from kvops.connections.calls import Calls
from kvops.models import Environment, Read

AHEAD = 100
"""Answered calls whose values may wait to be taken: about as many as arrive while a part is stored and committed."""

ROOM = 16 * 1024 * 1024
"""Bytes of values that may wait to be taken; a single call may return more."""

SAMPLE = 20
SAMPLE_ONE_IN = 2_000

type _Entries = dict[str, KvEntry | None]
type _Mark = tuple[bytes, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Name:
    """A listed key."""

    index: int
    name: str
    expiration: int | None


class _Room:
    """Lets calls begin in their order, if there is room for their answers; earlier answers give the estimate."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._next = self._under_way = self._held = 0
        self._expected = ROOM  # the first call runs alone: its size is the estimate for the next calls
        self._closed = self._told = False

    def enter(self, number: int) -> None:
        """Wait for the turn of this call. Raises CancelledError if the reader was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (number == self._next and self._fits()))
            if self._closed:
                raise CancelledError
            self._next += 1
            self._under_way += 1
            self._changed.notify_all()

    def _fits(self) -> bool:
        alone = not self._held and not self._under_way
        return alone or self._held + self._expected * (self._under_way + 1) <= ROOM

    def leave(self, size: int) -> None:
        """Record the size of this call's answer."""
        with self._changed:
            self._under_way -= 1
            self._held += size
            self._expected = max(size, self._expected * 3 // 4 if self._told else 0)
            self._told = True
            self._changed.notify_all()

    def take(self, size: int) -> None:
        """Record that the caller took `size` bytes."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Cancel the waiting calls."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class KvReader(Calls):
    """Reads the values of an environment."""

    def __init__(
        self, environment: Environment, keep: Callable[[], None], *, patient: bool = False, sparing: bool = False
    ) -> None:
        """`sparing`: if a value must be read singly and the edge refuses its name, it is absent and in `refused`."""
        super().__init__(environment, keep, patient=patient)
        self.refused: set[str] = set()
        self._sparing = sparing
        self._rooms: list[_Room] = []
        self._dry = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for room in self._rooms:
            room.close()  # the caller stopped, so no more room will be made
        super().__exit__(kind, error, trace)

    def dry_up(self) -> None:
        """Start no further call: `values` ends with the answers of the calls already started."""
        self._dry = True

    def values(self, namespace_id: str, names: Iterator[Name], read: str) -> Iterator[tuple[Name, KvEntry | None]]:
        """Each name with its entry, in order; None for a key that is absent."""
        size = 1 if read == Read.EXACT else BULK_GET_LIMIT
        room, numbers = _Room(), count()
        under_way: deque[tuple[list[Name], Future[_Entries | None]]] = deque()
        self._rooms.append(room)
        try:
            while True:
                while self._dry and under_way and under_way[-1][1].cancel():
                    under_way.pop()
                while not self._dry and len(under_way) < AHEAD and (batch := list(islice(names, size))):
                    under_way.append((batch, self.submit(self._get(namespace_id, batch, read, room, next(numbers)))))
                if not under_way:
                    return
                batch, future = under_way.popleft()
                found = self.outcome(future)
                del future  # the future holds its answer
                if found is None:
                    yield from self._in_halves(namespace_id, batch)
                    room.take(ROOM)
                    continue
                room.take(_bytes(found))
                for name in batch:
                    yield name, found[name.name]
        finally:
            room.close()
            self._rooms.remove(room)
            for _, future in under_way:
                future.cancel()

    def _in_halves(self, namespace_id: str, batch: Sequence[Name]) -> Iterator[tuple[Name, KvEntry | None]]:
        """The entries of a batch that was too large for one answer, in smaller answers, one after the other."""
        middle = len(batch) // 2
        for half in batch[:middle], batch[middle:]:
            names = [name.name for name in half]
            found = self.run(partial(self._in_bulk, namespace_id, names))
            if found is None:
                yield from self._in_halves(namespace_id, half)
                continue
            for name in half:
                yield name, found[name.name]
            del found  # freed before the next half is read

    def differ(self, namespace_id: str, names: Sequence[Name]) -> bool:
        """Whether a bulk read changes one of these keys.

        Only a second difference counts: the first may be a write in between.
        """
        for _ in range(2):
            bulk = self._marks(namespace_id, names, Read.BULK)
            exact = self._marks(namespace_id, names, Read.EXACT)
            names = [name for name in names if bulk[name] != exact[name] and name.name not in self.refused]
        return bool(names)

    def _marks(self, namespace_id: str, names: Sequence[Name], read: str) -> dict[Name, _Mark | None]:
        """A digest of each entry instead of its value: the values of twenty keys can be half a gigabyte."""
        return {
            name: (sha256(entry.data).digest(), entry.expiration, entry.metadata) if entry else None
            for name, entry in self.values(namespace_id, iter(names), read)
        }

    def _get(
        self, namespace_id: str, batch: list[Name], read: str, room: _Room, number: int
    ) -> Callable[[], _Entries | None]:
        names = [name.name for name in batch]

        def get() -> _Entries | None:
            if read == Read.EXACT:
                return {name: self._exactly(namespace_id, name) for name in names}
            return self._in_bulk(namespace_id, names)

        def get_with_room() -> _Entries | None:
            found: _Entries | None = {}
            room.enter(number)
            try:
                found = get()
            finally:
                room.leave(_bytes(found))
            return found

        return get_with_room

    def _exactly(self, namespace_id: str, name: str) -> KvEntry | None:
        try:
            return self.client.exact_get(namespace_id, name)
        except NameRefused:
            if not self._sparing:
                raise
            self.refused.add(name)
            return None

    def _in_bulk(self, namespace_id: str, names: Sequence[str]) -> _Entries | None:
        """As `bulk_get_at_once`. If the edge refuses a name that must be read singly, the names are read one by one."""
        try:
            return self.client.bulk_get_at_once(namespace_id, names)
        except NameRefused:
            if not self._sparing:
                raise
        if len(names) == 1:
            self.refused.update(names)
            return {names[0]: None}
        found: _Entries = {}
        for name in names:
            found |= self._in_bulk(namespace_id, [name]) or {}
        return found


def _bytes(found: _Entries | None) -> int:
    """The bytes of an answer.

    An answer that was too large counts as all the room, until it was read in smaller ones.
    """
    return ROOM if found is None else sum([len(entry.data) for entry in found.values() if entry])


def sample(seed: str, count: int) -> list[int]:
    """The indexes of `count` names to read both ways, in order; the same for the same seed."""
    size = min(count, SAMPLE + count // SAMPLE_ONE_IN)
    return sorted(random.Random(seed).sample(range(count), size))  # noqa: S311  (repeatable, not secret)
