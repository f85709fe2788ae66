"""JSON without loss: numbers as they were spelled, duplicate names and their order kept.

Python's own reader drops the first of two equal names, turns 1e400 into infinity and 1.0 and 1 into
things that compare equal. Metadata has to come back exactly as it was, so it travels as JSON text.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation


class Malformed(ValueError):
    """Not JSON, or not of the documented shape."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its spelling."""

    lexeme: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object by its members, in order, duplicates included."""

    pairs: list[tuple[str, "Value"]]

    def get(self, name: str) -> "Value":
        """The last member of that name, or None."""
        return next((value for key, value in reversed(self.pairs) if key == name), None)


type Value = bool | str | Number | list["Value"] | Object | None


def _no_constant(name: str) -> Value:
    raise Malformed(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_float=Number,
    parse_int=Number,
    parse_constant=_no_constant,
)


def parse(data: bytes | str) -> Value:
    """Read one JSON text; raises Malformed."""
    try:
        value: Value = _decoder.decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {type(error).__name__}") from error
    return value


def text(value: Value) -> str:
    """Write a value as compact JSON text that encodes as UTF-8."""
    return "".join(_write(value))


def _write(value: Value) -> Iterable[str]:
    match value:
        case Number(lexeme):
            yield lexeme
        case Object(pairs):
            members = (f"{_string(name)}:{text(member)}" for name, member in pairs)
            yield "{" + ",".join(members) + "}"
        case list():
            yield "[" + ",".join(text(item) for item in value) + "]"
        case str():
            yield _string(value)
        case _:
            yield json.dumps(value)


def _string(value: str) -> str:
    # A lone surrogate has no UTF-8 form; as an escape it stays what it was.
    return json.dumps(value, ensure_ascii=not encodable(value))


def encodable(value: str) -> bool:
    """Whether the text has a UTF-8 form (no lone surrogate)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_object(value: Value) -> Object:
    """The value if it is an object; raises Malformed."""
    if not isinstance(value, Object):
        raise Malformed("an object was expected")
    return value


def as_list(value: Value) -> list[Value]:
    """The value if it is an array; raises Malformed."""
    if not isinstance(value, list):
        raise Malformed("an array was expected")
    return value


def as_text(value: Value) -> str:
    """The value if it is a string; raises Malformed."""
    if not isinstance(value, str):
        raise Malformed("a string was expected")
    return value


def as_int(value: Value) -> int:
    """The value if it is a whole number; raises Malformed."""
    try:
        number = Decimal(value.lexeme) if isinstance(value, Number) else None
    except InvalidOperation:
        number = None
    if number is None or abs(number) > 2**63 or number != int(number):
        raise Malformed("a whole number was expected")
    return int(number)
