"""Two values as lines that a person can compare: the differences, with some lines around them. Pure: no Django.

The output is bounded: the first 64 KiB of text, the first 2 KiB of anything else, 1,000 lines of either.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

TEXT = 64 * 1024
"""Bytes of a text value that are compared."""
OTHER = 2 * 1024
"""Bytes of any other value that are compared."""
MOST = 1_000
"""Lines of either value: the time of a comparison grows faster than the number of lines."""
AROUND = 3


class DiffMark(StrEnum):
    """The place of a line: in both values, only in the first, only in the second, or equal lines left out."""

    BOTH = "both"
    FIRST = "first"
    SECOND = "second"
    LEFT_OUT = "left_out"


class Laid(StrEnum):
    """The way in which the bytes became lines."""

    AS_TEXT = "text"
    AS_JSON = "json"
    AS_BYTES = "bytes"


@dataclass(frozen=True)
class DiffLine:
    """One line."""

    mark: DiffMark
    text: str = ""


@dataclass(frozen=True)
class Compared:
    """The lines, the way they were made, and whether they are only the beginning of the values."""

    lines: Sequence[DiffLine]
    laid: Laid
    cut: bool


def compared(first: bytes | None, second: bytes | None) -> Compared:
    """Both values as lines; None for an absent value."""
    held = [value for value in (first, second) if value is not None]
    if any(_text(value) is None for value in held):
        limit, laid = OTHER, Laid.AS_BYTES
        sides = [_in_hex(value[:limit]) if value is not None else [] for value in (first, second)]
    else:
        limit, laid = TEXT, Laid.AS_TEXT
        texts = [value[:limit].decode("utf-8", "ignore") if value is not None else None for value in (first, second)]
        if not any(len(value) > limit for value in held) and (laid_out := _as_json(texts)):
            texts, laid = laid_out, Laid.AS_JSON
        sides = [text.split("\n") if text is not None else [] for text in texts]
    cut = any(len(value) > limit for value in held) or any(len(side) > MOST for side in sides)
    return Compared(list(_lines(sides[0][:MOST], sides[1][:MOST])), laid, cut)


def _text(value: bytes) -> str | None:
    """The value as text; None if it is not text. Only the beginning of a long value counts."""
    start = value[: TEXT + 4]
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        # A cut within the last character does not make the value binary.
        if len(value) <= len(start) or error.start < len(start) - 3:
            return None
        text = start[: error.start].decode()
    return None if "\0" in text else text


def _as_json(texts: Sequence[str | None]) -> list[str | None]:
    """The texts formatted for reading; empty unless all are JSON and still differ when formatted."""
    found: list[str | None] = []
    for text in texts:
        try:
            found.append(None if text is None else json.dumps(json.loads(text), ensure_ascii=False, indent=2))
        except (ValueError, RecursionError):
            return []
    return found if found[0] != found[1] else []


def _in_hex(data: bytes) -> list[str]:
    rows = [data[at : at + 16] for at in range(0, len(data), 16)]
    readable = ["".join(chr(byte) if 32 <= byte < 127 else "." for byte in row) for row in rows]
    return [f"{row.hex(' '):<48} {shown}" for row, shown in zip(rows, readable, strict=True)]


def _lines(first: Sequence[str], second: Sequence[str]) -> Iterator[DiffLine]:
    """The differing lines, with some equal lines around them."""
    behind = 0
    for group in SequenceMatcher(None, first, second).get_grouped_opcodes(AROUND):
        if group[0][1] > behind:
            yield DiffLine(DiffMark.LEFT_OUT)
        for tag, from_first, to_first, from_second, to_second in group:
            if tag == "equal":
                yield from (DiffLine(DiffMark.BOTH, text) for text in first[from_first:to_first])
            else:
                yield from (DiffLine(DiffMark.FIRST, text) for text in first[from_first:to_first])
                yield from (DiffLine(DiffMark.SECOND, text) for text in second[from_second:to_second])
            behind = to_first
    if behind < len(first):
        yield DiffLine(DiffMark.LEFT_OUT)
