"""Two values as lines: what differs, how it is laid out, and that nothing grows with them."""

import json
import time

import pytest

from backups.comparisons import text_diff
from backups.comparisons.text_diff import DiffMark, Laid


def shown(first: bytes | None, second: bytes | None) -> list[tuple[str, str]]:
    return [(line.mark.value, line.text) for line in text_diff.compared(first, second).lines]


def test_only_what_differs_is_shown_with_some_lines_around_it() -> None:
    before = "\n".join("abcdefghij")
    assert shown(before.encode(), before.replace("e", "E").encode()) == [
        ("left_out", ""),
        *(("both", text) for text in "bcd"),
        ("first", "e"),
        ("second", "E"),
        *(("both", text) for text in "fgh"),
        ("left_out", ""),
    ]


def test_json_is_laid_out() -> None:
    found = text_diff.compared(b'{"id":1,"name":"a"}', b'{"id":1,"name":"b"}')
    assert found.laid is Laid.AS_JSON
    assert [line.text for line in found.lines if line.mark is DiffMark.SECOND] == ['  "name": "b"']


def test_what_differs_only_as_text_is_shown_as_text() -> None:
    found = text_diff.compared(b'{"id":1}', b'{"id": 1}')
    assert found.laid is Laid.AS_TEXT
    assert [line.text for line in found.lines] == ['{"id":1}', '{"id": 1}']


def test_bytes_are_shown_in_hexadecimal() -> None:
    found = text_diff.compared(b"\xff\x00", b"plain")
    assert found.laid is Laid.AS_BYTES
    assert [line.text.split()[0] for line in found.lines] == ["ff", "70"]


def test_nul_is_no_text() -> None:
    assert text_diff.compared(b"a\0b", b"a").laid is Laid.AS_BYTES


def test_a_key_that_is_not_there_has_no_lines() -> None:
    assert shown(None, b"new") == [("second", "new")]
    assert shown(b"old", None) == [("first", "old")]
    assert shown(b"", None) == [("first", "")]


def test_a_long_text_is_cut_even_in_the_middle_of_a_character() -> None:
    found = text_diff.compared("あ".encode() * 40_000, b"short")
    assert (found.cut, found.laid) == (True, Laid.AS_TEXT)
    assert sum(len(line.text) for line in found.lines) <= text_diff.TEXT


@pytest.mark.parametrize("line", ["\n", "a\n", "{}\n"])
def test_the_worst_values_take_no_time(line: str) -> None:
    before = time.thread_time()
    found = text_diff.compared(line.encode() * 12_000_000, b"".join(f"{n}\n".encode() for n in range(60_000)))
    assert time.thread_time() - before < 3
    assert found.cut
    assert len(found.lines) <= 2 * text_diff.MOST


def test_deep_json_is_shown_as_text() -> None:
    deep = b"[" * 30_000 + b"]" * 30_000
    assert text_diff.compared(deep, json.dumps([]).encode()).laid is Laid.AS_TEXT
