"""KV namespaces in memory: one that stores its keys, and one that derives millions of them."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 64  # hex digits of one SHA-256


@dataclass(frozen=True, slots=True)
class Item:
    """A key with its value; `metadata` is JSON text."""

    name: str
    data: bytes
    expiration: int | None = None
    metadata: str | None = None


class FakeNamespace(Protocol):
    """What the fake needs of a namespace. Names are walked in the order of their bytes."""

    account: str
    id: str
    title: str

    def walk(self, prefix: str, after: str | None) -> Iterator[Item]:
        """The items under the prefix that come after a name."""

    def get(self, name: str) -> Item | None:
        """One item."""

    def put(self, item: Item) -> None:
        """Write one item over what was there."""

    def delete(self, name: str) -> Item | None:
        """Remove one item and give back what it was."""


def order(name: str) -> bytes:
    """What names are sorted by."""
    return name.encode("utf-8", "surrogatepass")


class Stored:
    """A namespace that holds what was put into it."""

    def __init__(self, account: str, namespace_id: str, title: str) -> None:
        self.account, self.id, self.title = account, namespace_id, title
        self.values: dict[str, Item] = {}
        self._order: list[bytes] = []

    def walk(self, prefix: str, after: str | None) -> Iterator[Item]:
        start = max(order(prefix), b"" if after is None else order(after) + b"\0")
        for index in range(bisect_left(self._order, start), len(self._order)):
            name = self._order[index]
            if not name.startswith(order(prefix)):
                return
            yield self.values[name.decode("utf-8", "surrogatepass")]

    def get(self, name: str) -> Item | None:
        return self.values.get(name)

    def put(self, item: Item) -> None:
        if item.name not in self.values:
            insort(self._order, order(item.name))
        self.values[item.name] = item

    def delete(self, name: str) -> Item | None:
        item = self.values.pop(name, None)
        if item is not None:
            self._order.pop(bisect_left(self._order, order(name)))
        return item


class Derived:
    """`count` keys computed from their index and a seed; only what was changed is remembered."""

    def __init__(
        self,
        account: str,
        namespace_id: str,
        title: str,
        *,
        count: int,
        seed: int,
        prefix: str,
        value_size: int,
    ) -> None:
        self.account, self.id, self.title = account, namespace_id, title
        self.count, self.seed, self.prefix, self.value_size = count, seed, prefix, value_size
        self.changed: dict[int, Item] = {}
        self._gone = bytearray(count)
        self._digits = max(8, len(str(count - 1)))

    @property
    def deleted(self) -> set[str]:
        """The names deleted so far."""
        return {self.name(index) for index in range(self.count) if self._gone[index]}

    def name(self, index: int) -> str:
        """The name at that place; the digits make byte order and number order the same."""
        return f"{self.prefix}{index:0{self._digits}d}"

    def item(self, index: int) -> Item:
        """The item at that place: ASCII text of exactly `value_size` bytes."""
        if index in self.changed:
            return self.changed[index]
        digest = hashlib.sha256(f"{self.seed}:{index}".encode()).hexdigest()
        data = (digest * (self.value_size // CHUNK + 1))[: self.value_size]
        return Item(self.name(index), data.encode())

    def walk(self, prefix: str, after: str | None) -> Iterator[Item]:
        start = max(order(prefix), b"" if after is None else order(after) + b"\0")
        index = bisect_left(range(self.count), start, key=lambda i: order(self.name(i)))
        while (index := self._gone.find(0, index)) >= 0:
            if not self.name(index).startswith(prefix):
                return
            yield self.item(index)
            index += 1

    def get(self, name: str) -> Item | None:
        index = self._index(name)
        return None if index is None or self._gone[index] else self.item(index)

    def put(self, item: Item) -> None:
        index = self._index(item.name)
        if index is None:
            raise ValueError(f"{item.name!r} is not one of the derived names")
        self._gone[index] = 0
        self.changed[index] = item

    def delete(self, name: str) -> Item | None:
        item, index = self.get(name), self._index(name)
        if item is not None and index is not None:
            self._gone[index] = 1
        return item

    def _index(self, name: str) -> int | None:
        digits = name.removeprefix(self.prefix)
        if not (digits.isascii() and digits.isdigit()) or int(digits) >= self.count:
            return None
        return int(digits) if self.name(int(digits)) == name else None
