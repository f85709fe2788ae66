"""The structural difference of two values: the paths that change, with their kinds and types, never a value.

Both values are read as JSON. If one is none, the difference is one line about the whole value. The name of a member
that looks like a secret, as in an object keyed by tokens, is masked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _, pgettext_lazy

from kvops.runbook import secrets

MOST = 200
"""Lines. A page shows at most this many."""

DEEPEST = 40
"""Levels. What lies deeper is compared as a whole."""

WHOLE = "$"
MASKED = "•••"
_NOTHING = object()


class DifferenceKind(TextChoices):
    """What happens at a path."""

    ADDED = "added", _("added")
    REMOVED = "removed", _("removed")
    CHANGED = "changed", _("changed")


class ShapeName(TextChoices):
    """The type of a value."""

    OBJECT = "object", _("object")
    ARRAY = "array", _("array")
    STRING = "string", _("string")
    NUMBER = "number", pgettext_lazy("type of a value", "number")
    BOOLEAN = "boolean", _("true or false")
    NULL = "null", _("null")
    TEXT = "text", _("text, no JSON")
    BINARY = "binary", _("binary")
    NONE = "", _("nothing")


@dataclass(frozen=True)
class PathDifference:
    """One path, as `mail.hosts[0]`, with the types before and after."""

    path: str
    kind: DifferenceKind
    before: ShapeName
    after: ShapeName


@dataclass(frozen=True)
class _SpelledNumber:
    """A number as it is spelled: `1` and `1.0` are two values, and neither is `true`."""

    text: str


_DECODER = json.JSONDecoder(parse_int=_SpelledNumber, parse_float=_SpelledNumber, parse_constant=_SpelledNumber)


def parsed(data: bytes) -> tuple[ShapeName, Any]:
    """The type of a whole value, and the value if it is JSON."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ShapeName.BINARY, _NOTHING
    if "\0" in text:
        return ShapeName.BINARY, _NOTHING
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return ShapeName.TEXT, _NOTHING
    return _shape(found), found


def between(old: bytes | None, new: bytes) -> tuple[list[PathDifference], bool]:
    """The paths that differ, at most `MOST`, and whether there are more."""
    after, there = parsed(new)
    before, here = (ShapeName.NONE, _NOTHING) if old is None else parsed(old)
    if old == new:
        return [], False
    if there is _NOTHING or here is _NOTHING:
        kind = DifferenceKind.ADDED if old is None else DifferenceKind.CHANGED
        found = iter([PathDifference(WHOLE, kind, before, after)])
    else:
        found = _walk("", here, there, 0)
    lines = list(islice(found, MOST + 1))
    if not lines:  # the same JSON in another spelling: blanks, order, escapes
        lines = [PathDifference(WHOLE, DifferenceKind.CHANGED, before, after)]
    return lines[:MOST], len(lines) > MOST


def paths(data: bytes) -> list[tuple[str, ShapeName]]:
    """The paths of a JSON value with their types, for whoever edits it; empty if it is no JSON."""
    shape, found = parsed(data)
    return [] if found is _NOTHING else list(islice(_paths("", found, shape, 0), MOST))


def _walk(path: str, before: Any, after: Any, depth: int) -> Iterator[PathDifference]:
    if depth < DEEPEST and isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            shown = MASKED if secrets.secret_in(name) else name
            at = f"{path}.{shown}" if path else shown
            yield from _member(at, before.get(name, _NOTHING), after.get(name, _NOTHING), depth)
    elif depth < DEEPEST and isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            here, there = (side[index] if index < len(side) else _NOTHING for side in (before, after))
            yield from _member(f"{path}[{index}]", here, there, depth)
    elif before != after:
        yield PathDifference(path or WHOLE, DifferenceKind.CHANGED, _shape(before), _shape(after))


def _member(at: str, before: Any, after: Any, depth: int) -> Iterator[PathDifference]:
    if before is _NOTHING:
        yield PathDifference(at, DifferenceKind.ADDED, ShapeName.NONE, _shape(after))
    elif after is _NOTHING:
        yield PathDifference(at, DifferenceKind.REMOVED, _shape(before), ShapeName.NONE)
    else:
        yield from _walk(at, before, after, depth + 1)


def _paths(path: str, value: Any, shape: ShapeName, depth: int) -> Iterator[tuple[str, ShapeName]]:
    yield path or WHOLE, shape
    members: list[tuple[str, Any]] = []
    if isinstance(value, dict) and depth < DEEPEST:
        members = [(f"{path}.{name}" if path else name, one) for name, one in value.items()]
    elif isinstance(value, list) and depth < DEEPEST:
        members = [(f"{path}[{index}]", one) for index, one in enumerate(value)]
    for at, one in members:
        yield from _paths(at, one, _shape(one), depth + 1)


def _shape(value: Any) -> ShapeName:
    match value:
        case bool():
            return ShapeName.BOOLEAN
        case None:
            return ShapeName.NULL
        case _SpelledNumber():
            return ShapeName.NUMBER
        case str():
            return ShapeName.STRING
        case list():
            return ShapeName.ARRAY
    return ShapeName.OBJECT
