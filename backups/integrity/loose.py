"""Whether two values are equal under a looser comparison than that of a check. Pure: no Django.

It only explains a difference: a check never compares like this.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import combinations
from unicodedata import normalize

from backups.datasets.canonical import JSON, ExactNumber, number
from kvops.cloudflare import Cell

LONGEST = 64 * 1024
"""Characters. A longer text is not compared loosely."""

_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?")


class Looser(StrEnum):
    """One way to compare more loosely."""

    UNICODE = "unicode"
    SPACE = "space"
    EMPTY = "empty"
    CASE = "case"
    DATE = "date"
    TYPE = "type"


type Plain = tuple[str, str]
"""A value as its kind (`0` nothing, `n` number, `t` text, `d` date, `?` anything else) and its text."""


def of_json(value: JSON) -> Plain:
    """A JSON field; None also stands for an absent one."""
    match value:
        case None:
            return "0", ""
        case bool():
            return "n", str(int(value))
        case ExactNumber():
            return "n", number(value)
        case str():
            return "t", value
        case _:
            return "?", ""


def of_cell(kind: str, value: Cell) -> Plain:
    """A column. `kind` is the first letter of SQLite's typeof."""
    match kind, value:
        case "n", _:
            return "0", ""
        case "i", str():
            return "n", number(value)
        case "r", int() | float():
            return "n", number(repr(float(value)))
        case "t", str():
            return "t", value
        case _:
            return "?", ""


def same_if(ours: Plain, theirs: Plain, ways: Sequence[Looser] = tuple(Looser)) -> tuple[Looser, ...]:
    """The fewest ways under which the two are equal; empty if there are none, or if they are equal anyhow."""
    if ours == theirs or "?" in (ours[0], theirs[0]) or max(len(ours[1]), len(theirs[1])) > LONGEST:
        return ()
    for count in range(1, len(ways) + 1):
        for chosen in combinations(ways, count):
            if loosened(ours, chosen) == loosened(theirs, chosen):
                return chosen
    return ()


def loosened(value: Plain, ways: Sequence[Looser]) -> Plain:
    """The value in the form that equal values share under these ways."""
    for way in ways:
        value = _WAYS[way](*value)
    return value


def _unicode(kind: str, text: str) -> Plain:
    return kind, normalize("NFKC", text)


def _space(kind: str, text: str) -> Plain:
    return kind, _SPACE.sub(" ", text).strip()


def _empty(kind: str, text: str) -> Plain:
    return ("0", "") if kind == "t" and not text else (kind, text)


def _case(kind: str, text: str) -> Plain:
    return kind, text.casefold()


def _date(kind: str, text: str) -> Plain:
    moment = moment_of(text) if kind == "t" else None
    return ("d", moment.isoformat()) if moment else (kind, text)


def _type(kind: str, text: str) -> Plain:
    """The number that a text spells; true and false in words are 1 and 0."""
    if kind != "t":
        return kind, text
    if text.casefold() in ("true", "false"):
        return "n", str(int(text.casefold() == "true"))
    return ("n", number(text.lstrip("+"))) if _NUMBER.fullmatch(text) else (kind, text)


_WAYS: dict[Looser, Callable[[str, str], Plain]] = {
    Looser.UNICODE: _unicode,
    Looser.SPACE: _space,
    Looser.EMPTY: _empty,
    Looser.CASE: _case,
    Looser.DATE: _date,
    Looser.TYPE: _type,
}


def moment_of(value: object) -> datetime | None:
    """The moment of an ISO text, a date, or a number of seconds or milliseconds; without a zone it is UTC."""
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{9,13}", text):
        seconds = int(text)
        return datetime.fromtimestamp(seconds / 1000 if seconds > 10**11 else seconds, UTC)
    try:
        if found := _DATE.fullmatch(text):
            day = date(*map(int, found.groups()))
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        moment = datetime.fromisoformat(text) if len(text) > 7 else None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC) if moment else None
    except (ValueError, OverflowError):
        return None
