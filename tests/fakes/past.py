"""A KV namespace with a past: it can answer with an older state, and a deleted key can return."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from tests.fakes.namespaces import Item, Stored, order


class Remembering(Stored):
    """Remembers every state each key ever had. Older answers and returns go by the fake's clock."""

    def __init__(self, account: str, namespace_id: str, title: str, clock: Callable[[], float]) -> None:
        super().__init__(account, namespace_id, title)
        self._clock = clock
        self._past: dict[str, list[tuple[float, Item | None]]] = {}
        self._returning: dict[str, float] = {}
        self._due: list[tuple[float, int, Item]] = []
        self._serial = count()

    def walk(self, prefix: str, after: str | None) -> Iterator[Item]:
        self._return_due()
        return super().walk(prefix, after)

    def get(self, name: str) -> Item | None:
        self._return_due()
        return super().get(name)

    def put(self, item: Item) -> None:
        self._return_due()
        self._put_at(self._clock(), item)

    def delete(self, name: str) -> Item | None:
        self._return_due()
        item = super().delete(name)
        if item is not None:
            self._past[name].append((self._clock(), None))
            if name in self._returning:
                heappush(self._due, (self._clock() + self._returning.pop(name), next(self._serial), item))
        return item

    def return_after_delete(self, name: str, seconds: float) -> None:
        """Let the key be there again so long after it is deleted next, unless it was written meanwhile."""
        self._returning[name] = seconds

    def states(self, name: str) -> list[tuple[float, Item | None]]:
        """Every state a key had, the oldest first, each with the time it began; None for absent."""
        self._return_due()
        return list(self._past.get(name, []))

    def as_of(self, name: str, at: float) -> Item | None:
        """The state of a key at that moment."""
        self._return_due()
        past = self._past.get(name, [])
        index = bisect_right(past, at, key=lambda state: state[0])
        return past[index - 1][1] if index else None

    def walk_as_of(self, prefix: str, after: str | None, at: float) -> Iterator[Item]:
        """As `walk`, of the state at that moment."""
        start = order(prefix) if after is None else max(order(prefix), order(after) + b"\0")
        for name in sorted(self._past, key=order):
            if order(name) >= start and name.startswith(prefix) and (item := self.as_of(name, at)):
                yield item

    def before_delete(self, name: str, at: float) -> float:
        """When the key got the state that a delete at that moment ended."""
        past = self._past[name]
        index = bisect_right(past, at, key=lambda state: state[0])
        while index and past[index - 1][1] is None:
            index -= 1
        return past[index - 1][0]

    def lived_since(self, name: str, at: float, until: float) -> bool:
        """Whether the key was there all the time between two moments."""
        states = [state for state in self._past.get(name, []) if at < state[0] <= until]
        item = self.as_of(name, at)
        lives = [item, *(state[1] for state in states)]
        return all(one is not None and (one.expiration is None or one.expiration > until) for one in lives)

    def _put_at(self, at: float, item: Item) -> None:
        super().put(item)
        self._past.setdefault(item.name, []).append((at, item))

    def _return_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock():
            at, _, item = heappop(self._due)
            if item.name not in self.values:
                self._put_at(at, item)


class Lag:
    """How old an answer is: nothing for some, up to `longest` seconds for others, told by the seed.

    Each read of a key has a lag of its own, as when it is served from another place or another of two backends; so has
    each page of a listing. A key that is not there yet in the older state is answered as absent.
    """

    def __init__(self, seed: object, longest: float) -> None:
        self._seed, self._longest = seed, longest
        self._reads: dict[tuple[str, str], int] = {}

    def __call__(self, route: str, name: str) -> float:
        """Seconds, for the next read of a name by a route."""
        read = self._reads[route, name] = self._reads.get((route, name), 0) + 1
        rng = random.Random(f"{self._seed}:{route}:{name}:{read}")
        return rng.choice((0.0, rng.random() * self._longest, self._longest))
