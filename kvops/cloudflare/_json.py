"""JSON without loss: numbers as they were spelled, duplicate names and their order kept.

Python's own reader drops the first of two equal names, turns 1e400 into infinity and 1.0 and 1 into
things that compare equal. Metadata has to come back exactly as it was, so it travels as JSON text.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from kvops.refusals import Sentence as _


class Malformed(ValueError):
    """Not JSON, or not of the documented shape."""


@dataclass(frozen=True, slots=True)
class SpelledNumber:
    """A number by its spelling."""

    lexeme: str


class Repeated(dict[str, "Value"]):
    """An object with a repeated name: `pairs` has every member, a look-up finds the last."""

    def __init__(self, pairs: list[tuple[str, "Value"]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


type Object = dict[str, Value]
type Value = bool | str | SpelledNumber | list[Value] | dict[str, Value] | None


def _object(pairs: list[tuple[str, Value]]) -> Object:
    found = dict(pairs)  # in order; a plain dict keeps a page of a thousand keys cheap
    return found if len(found) == len(pairs) else Repeated(pairs)


_plain = json.JSONEncoder(ensure_ascii=False).encode


def _no_constant(name: str) -> Value:
    raise Malformed(_("%(name)s is not JSON", name=name))


_decoder = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=SpelledNumber,
    parse_int=SpelledNumber,
    parse_constant=_no_constant,
)


_last_wins = json.JSONDecoder(parse_float=SpelledNumber, parse_int=SpelledNumber, parse_constant=_no_constant)


def parse_json(data: bytes | str, *, last_wins: bool = False) -> Value:
    """Read one JSON text; raises Malformed. With `last_wins` an object keeps only the last of equal names."""
    decoder = _last_wins if last_wins else _decoder
    try:
        value: Value = decoder.decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(_("not JSON: %(kind)s", kind=type(error).__name__)) from error
    return value


def text(value: Value) -> str:
    """Write a value as compact JSON text that encodes as UTF-8."""
    match value:
        case SpelledNumber(lexeme):
            return lexeme
        case dict():
            pairs = value.pairs if isinstance(value, Repeated) else value.items()
            return "{" + ",".join([f"{_string(name)}:{text(member)}" for name, member in pairs]) + "}"
        case list():
            return "[" + ",".join([text(item) for item in value]) + "]"
        case str():
            return _string(value)
        case _:
            return json.dumps(value)


def _string(value: str) -> str:
    # Write a lone surrogate as an escape, because it has no UTF-8 form.
    return _plain(value) if encodable(value) else json.dumps(value)


def encodable(value: str) -> bool:
    """Whether the text has a UTF-8 form (no lone surrogate)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_object(value: Value) -> Object:
    """The value if it is an object; raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(_("an object was expected"))
    return value


def as_list(value: Value) -> list[Value]:
    """The value if it is an array; raises Malformed."""
    if not isinstance(value, list):
        raise Malformed(_("an array was expected"))
    return value


def as_text(value: Value) -> str:
    """The value if it is a string; raises Malformed."""
    if not isinstance(value, str):
        raise Malformed(_("a string was expected"))
    return value


def as_int(value: Value) -> int:
    """The value if it is a whole number; raises Malformed."""
    if isinstance(value, SpelledNumber) and value.lexeme.isdigit() and len(value.lexeme) < 19:
        return int(value.lexeme)
    try:
        number = Decimal(value.lexeme) if isinstance(value, SpelledNumber) else None
    except InvalidOperation:
        number = None
    if number is None or abs(number) > 2**63 or number != int(number):
        raise Malformed(_("a whole number was expected"))
    return int(number)


def as_moment(value: Value) -> datetime:
    """The value if it is a time with its zone; raises Malformed."""
    try:
        found = datetime.fromisoformat(as_text(value))
    except ValueError as error:
        raise Malformed(_("a time was expected")) from error
    if found.tzinfo is None:
        raise Malformed(_("a time without its zone"))
    return found
