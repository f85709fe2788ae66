"""JSON written and read by its text, so that metadata passes through the fake untouched."""

import json
import re
from collections.abc import Mapping

_blank = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()


def members(pairs: Mapping[str, str]) -> str:
    """An object whose member values are JSON texts already."""
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in pairs.items()) + "}"


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
