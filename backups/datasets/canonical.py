"""When a JSON field and a D1 column are equal: they have the same canonical form. Pure: no Django, no network.

    null, NULL                    NULL; an absent field has no form
    true, false                   its value, unlike that of any column
    number                        its value: 1 = 1.0 = 1e0; whole numbers exactly, others as doubles
    string                        the same text; "1" is not 1, and "2024-01-01" is not "2024-1-1"
    object, array                 a TEXT column that holds the same JSON, in any spacing and order of members
    (a BLOB column)               equal to no JSON

The type rules of a dataset (`type_rules`) make more of them equal: by default true = 1, and an absent field = NULL.
Only digests of the forms are passed on: values are never stored.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256

from kvops.cloudflare import Cell
from kvops.refusals import Sentence as _

DIGEST = 16
"""Bytes of a digest."""

NULL = "0"
"""The form of null and of NULL."""

JSON_STARTS = frozenset("{[ \t\r\n")
"""Characters with which a text may begin that holds an object or an array."""
_PLAIN = re.compile(r"[1-9][0-9]{0,17}")
_WHOLE = re.compile(r"-?[0-9]{1,19}")


class ExactNumber(str):
    """A JSON number in its original spelling, distinguishable from a string."""

    __slots__ = ()


type JSON = bool | str | list[JSON] | dict[str, JSON] | None


def refuse_constant(constant: str) -> JSON:
    """Raise ValueError for NaN and infinities, which are no JSON."""
    raise ValueError(_("%(constant)s is not JSON", constant=constant))


DECODER = json.JSONDecoder(parse_int=ExactNumber, parse_float=ExactNumber, parse_constant=refuse_constant)


def canonical_field(value: JSON) -> str:
    """The canonical form of a JSON field. May raise RecursionError."""
    if type(value) is str:  # the most frequent case first
        return f"t{value}"
    match value:
        case None:
            return NULL
        case bool():
            return f"b{int(value)}"
        case ExactNumber():
            return f"n{number(value)}"
        case _:
            return f"j{''.join(_nested(value))}"


def number(lexeme: str) -> str:
    """One spelling for equal numbers: integers of 64 bits exactly, all others as doubles."""
    if _PLAIN.fullmatch(lexeme):
        return lexeme
    if _WHOLE.fullmatch(lexeme) and -(2**63) <= int(lexeme) < 2**63:
        return str(int(lexeme))
    double = float(lexeme)
    if double.is_integer() and -(2.0**63) <= double < 2.0**63:
        return str(int(double))
    return repr(double)


def field_digest(form: str) -> bytes:
    """The truncated SHA-256 of a canonical form."""
    return sha256(form.encode("utf-8", "surrogatepass")).digest()[:DIGEST]


def canonical_cell(kind: str, value: Cell) -> str:
    """The canonical form of a column. `kind` is the first letter of SQLite's typeof."""
    if kind == "t" and isinstance(value, str):
        return f"t{value}"
    match kind, value:
        case "n", _:
            return NULL
        case "i", str():
            return f"n{number(value)}"
        case "r", int() | float():
            return f"n{number(repr(float(value)))}"
        case _:  # a BLOB, or an infinity, which D1's JSON shows as null
            return f"x{kind}{value}"


def json_digest(form: str) -> bytes:
    """The digest of the JSON that a TEXT column holds; empty if it holds no object and no array."""
    if form[0] != "t" or form[1:2] not in JSON_STARTS or not form[1:].lstrip(" \t\r\n").startswith(("{", "[")):
        return b""
    try:
        return field_digest(canonical_field(DECODER.decode(form[1:])))
    except (ValueError, RecursionError):
        return b""


def cell_json(kind: str, value: Cell) -> JSON:
    """The column as an equal JSON field. Raises ValueError, without quoting the value, if it has no JSON form."""
    match kind, value:
        case "n", _:
            return None
        case "i", str():
            return ExactNumber(value)
        case "r", int() | float():
            return ExactNumber(repr(float(value)))
        case "t", str():
            return value
        case _:
            raise ValueError("a BLOB or an infinity has no JSON")


def encode(value: JSON) -> str:
    """Canonical JSON text, the same for the same value: compact, members sorted, numbers in their original spelling."""
    match value:
        case dict():
            members = (f"{json.dumps(name, ensure_ascii=False)}:{encode(value[name])}" for name in sorted(value))
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(map(encode, value))}]"
        case ExactNumber():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _nested(value: JSON) -> Iterator[str]:
    match value:
        case dict():
            yield "{"
            for index, member in enumerate(sorted(value)):
                yield f"{',' if index else ''}{json.dumps(member)}:"
                yield from _nested(value[member])
            yield "}"
        case list():
            yield "["
            for index, item in enumerate(value):
                yield "," if index else ""
                yield from _nested(item)
            yield "]"
        case ExactNumber():
            yield number(value)
        case _:
            yield json.dumps(value)
