"""Somebody else who writes to the namespace while the product works."""

import random
from collections.abc import Callable, Sequence
from threading import Lock

from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.namespaces import Item

ROUTES = ("namespace", "keys", "value", "metadata", "bulk_get", "bulk_delete", "bulk_put", "put_value")


class Writer:
    """Changes, creates, deletes and expires keys by a seed: before every call of the product, and when `act` is called.

    `rate` is how probable a write is each time. A few of the keys get half of the writes.
    """

    def __init__(
        self, fake: FakeCloudflare, namespace_id: str, names: Sequence[str], *, seed: object, rate: float
    ) -> None:
        self.rate = rate
        self.writes = 0
        self._fake, self._namespace_id, self._names = fake, namespace_id, names
        self._rng = random.Random(str(seed))
        self._lock = Lock()
        for route in ROUTES:
            fake.hook(route, lambda _request: self.act())

    def act(self) -> None:
        """Perhaps one write."""
        with self._lock:
            if self._rng.random() >= self.rate:
                return
            self.writes += 1
            few = self._names[: max(1, len(self._names) // 20)]
            name = self._rng.choice(few if self._rng.random() < 0.5 else self._names)
            acts: list[Callable[[str], None]] = [self._change, self._touch, self._prolong, self._expire, self._remove]
            self._rng.choices(acts, weights=(6, 1, 1, 1, 1))[0](name)

    def _item(self, name: str) -> Item:
        return self._fake.get(self._namespace_id, name) or Item(name, b"new")

    def _change(self, name: str) -> None:
        self._fake.put(self._namespace_id, name, f"value {self._rng.random()}".encode())

    def _touch(self, name: str) -> None:
        item = self._item(name)
        self._fake.put(self._namespace_id, name, item.data, item.expiration, f'{{"touched":{self._rng.random()}}}')

    def _prolong(self, name: str) -> None:
        item = self._item(name)
        later = int(self._fake.clock()) + self._rng.randrange(10**6, 10**7)
        self._fake.put(self._namespace_id, name, item.data, later, item.metadata)

    def _expire(self, name: str) -> None:
        item = self._item(name)
        soon = int(self._fake.clock()) + self._rng.randrange(60, 900)
        self._fake.put(self._namespace_id, name, item.data, soon, item.metadata)

    def _remove(self, name: str) -> None:
        self._fake.remove(self._namespace_id, name)
