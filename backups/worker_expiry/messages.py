"""The calls of a Worker, read strictly: anything else is refused. Pure: no database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvops.names import storable

MOST_PARTS = 1_000_000
MOST_KEYS = 2**31 - 1
LONGEST_NAME = 512
"""Bytes."""
ENDS = ("", "complete", "cap", "refused", "end")
COUNTS = ("listed", "given", "skipped", "failed")


class NotAMessage(Exception):
    """The body is none of a Worker's messages."""


@dataclass(frozen=True)
class WorkerAsk:
    """A Worker asks whether its round may write. `rule` is the digest of the rule in its script."""

    round: str
    approval: int
    rule: str


@dataclass(frozen=True)
class WorkerTold:
    """A Worker reports the keys it wrote, and those it may have written. The last report has the counts."""

    round: str
    approval: int
    part: int
    given: tuple[str, ...]
    failed: tuple[str, ...]
    ended: str
    counts: Mapping[str, int]


def read_ask(body: bytes) -> WorkerAsk:
    """The question in a body. Raises NotAMessage."""
    found = _object(body, {"round", "approval", "rule"})
    return WorkerAsk(_text(found["round"], 36), _number(found["approval"], MOST_KEYS), _text(found["rule"], 64))


def read_report(body: bytes) -> WorkerTold:
    """The report in a body. Raises NotAMessage."""
    found = _object(body, {"round", "approval", "part", "given", "failed"}, {"ended", "counts"})
    ended = found.get("ended", "")
    counts = found.get("counts", {})
    if ended not in ENDS or not isinstance(counts, dict) or set(counts) != (set(COUNTS) if ended else set()):
        raise NotAMessage("ended")
    given, failed = _names(found["given"]), _names(found["failed"])
    if len({*given, *failed}) != len(given) + len(failed):
        raise NotAMessage("names")
    return WorkerTold(
        round=_text(found["round"], 36),
        approval=_number(found["approval"], MOST_KEYS),
        part=_number(found["part"], MOST_PARTS),
        given=given,
        failed=failed,
        ended=ended,
        counts={name: _number(count, MOST_KEYS) for name, count in counts.items()},
    )


def _object(body: bytes, needed: set[str], optional: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAMessage("json") from error
    if not isinstance(found, dict) or not needed <= set(found) <= needed | optional:
        raise NotAMessage("members")
    return found


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or not storable(value) or len(value) > longest:
        raise NotAMessage("text")
    return value


def _number(value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise NotAMessage("number")
    return value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise NotAMessage("names")
    found = tuple(_text(name, LONGEST_NAME) for name in value)
    if any(len(name.encode()) > LONGEST_NAME for name in found):
        raise NotAMessage("names")
    return found
