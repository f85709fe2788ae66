"""The rows inside the value of a key: one row, an array of rows, or an object of rows by id. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from backups.datasets.canonical import DECODER, JSON, ExactNumber, refuse_constant
from backups.datasets.paths import Path, follow

ROW, ARRAY, OBJECT = "row", "array", "object"


class Repeating(dict[str, JSON]):
    """A JSON object in which members stand more than once; the last of each counts, as for a Worker."""

    repeated: frozenset[str] = frozenset()


def _members(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeating, seen = Repeating(members), set[str]()
    repeating.repeated = frozenset(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return repeating


_OF_OBJECTS = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=ExactNumber, parse_float=ExactNumber, parse_constant=refuse_constant
)


class NoRows(ValueError):
    """The value does not hold rows of the shape."""


@dataclass(frozen=True, slots=True)
class Held:
    """A row as a key holds it: its place in the value, its id if the value has it, and its content."""

    place: str
    id: str | None
    value: JSON
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The place of rows in the value of a key."""

    holds: str
    path: Path

    def decode(self, data: bytes) -> JSON:
        """The value of a key. Raises ValueError and RecursionError."""
        value: JSON = (_OF_OBJECTS if self.holds == OBJECT else DECODER).decode(data.decode())
        return value

    def rows(self, value: JSON) -> Iterator[Held]:
        """The rows of a value. Raises NoRows."""
        inner = follow(value, self.path)
        match self.holds, inner:
            case "row", dict() as row:
                yield Held("", "", row)
            case "array", list() as items:
                for position, item in enumerate(items):
                    yield Held(f"[{position}]", None, item)
            case "object", dict() as members:
                repeated = members.repeated if isinstance(members, Repeating) else ()
                for name, item in members.items():
                    yield Held(name, name, item, repeated=name in repeated)
            case _:
                raise NoRows
