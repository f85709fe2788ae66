"""JSON written and read by its text, so that metadata passes through the fake untouched."""

import json
import re
from collections.abc import Iterator, Mapping

_blank = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()


type Text = str | Mapping[str, Text]
"""A JSON text, or an object whose member values are such texts."""


def members(pairs: Mapping[str, Text]) -> str:
    """An object whose member values are JSON texts already."""
    return "".join(_pieces(pairs))  # once: a value may have 25 MiB


def _pieces(pairs: Mapping[str, Text]) -> Iterator[str]:
    for at, (name, text) in enumerate(pairs.items()):
        yield f"{',' if at else '{'}{json.dumps(name)}:"
        if isinstance(text, str):
            yield text
        else:
            yield from _pieces(text)
    yield "}" if pairs else "{}"


def elements(text: str) -> list[dict[str, str]]:
    """An array of objects, each member's value as the text it was sent as; raises ValueError."""
    found: list[dict[str, str]] = []
    at = _expect(text, 0, "[")
    while not _sees(text, at, "]"):
        at = _expect(text, at, "," if found else "")
        item, at = _object(text, at)
        found.append(item)
    if _blank.sub("", text[_expect(text, at, "]") :]):
        raise ValueError("there is something after the array")
    return found


def _object(text: str, at: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    at = _expect(text, at, "{")
    while not _sees(text, at, "}"):
        at = _expect(text, at, "," if found else "")
        name, at = _decoder.raw_decode(text, at)
        start = _expect(text, _expect(text, at, ":"), "")
        _, at = _decoder.raw_decode(text, start)
        found[name] = text[start:at]
    return found, _expect(text, at, "}")


def _skip(text: str, at: int) -> int:
    blank = _blank.match(text, at)
    return blank.end() if blank else at


def _sees(text: str, at: int, mark: str) -> bool:
    return text.startswith(mark, _skip(text, at))


def _expect(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"{mark!r} expected at {at}")
    return _skip(text, at + len(mark))
