"""The file of a report: what it says, and that anything else is refused whole with the first wrong place."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kvops.references import report as report_module
from kvops.references.report import (
    MOST_DEPTH,
    MOST_MEMBERS,
    MOST_PARTS,
    Hit,
    Report,
    ReportRefused,
    _Object,
    dumps,
    loads,
)

HIT = Hit("src/a.ts", 3, 7, "certain", "read", "SETTINGS master:*", '"master:"', ("", 'get("master:" + id)', "}"))
REPORT = Report("0" * 40, 2, datetime(2026, 11, 28, 15, 0, 1, tzinfo=UTC), (HIT,), ())


def changed(path: str, value: object, report: Report = REPORT) -> bytes:
    """The report with another value at the place, such as `hits[0].line`."""
    data: Any = json.loads(dumps(report))
    target = data
    steps: list[Any] = [int(s) if s.isdigit() else s for s in path.replace("[", ".").replace("]", "").split(".")]
    for step in steps[:-1]:
        target = target[step]
    target[steps[-1]] = value
    return json.dumps(data).encode()


def test_a_report_is_read_back_as_it_was_written() -> None:
    assert loads(dumps(REPORT)) == REPORT
    assert json.loads(dumps(REPORT))["searched_at"] == "2026-11-28T15:00:01Z"
    assert dumps(loads(dumps(REPORT))) == dumps(REPORT)


def test_the_bindings_of_wrangler_files_in_a_report_of_an_earlier_version_are_left_aside() -> None:
    found = {"file": "wrangler.toml", "name": "qa", "kv": {"SETTINGS": "n1"}, "d1": {}, "r2": {}}
    assert loads(changed("wrangler", {"environments": [found], "unread": ["wrangler.json"]})) == REPORT


def test_a_fingerprint_is_of_file_text_and_context_and_of_nothing_else() -> None:
    assert replace(HIT, line=90, column=1, certainty="unknown").fingerprint == HIT.fingerprint
    others = [replace(HIT, file="b.ts"), replace(HIT, text="x"), replace(HIT, context=("", "", ""))]
    assert len({HIT.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("hits[0].line", 0, "hits[0].line: must be a positive integer."),
        ("hits[0].line", True, "hits[0].line: must be a positive integer."),
        ("hits[0].line", 1.0, "hits[0].line: must be a positive integer."),
        ("hits[0].column", float("nan"), "hits[0].column: must be a positive integer."),
        ("hits[0].column", 2**31, "hits[0].column: must be a positive integer."),
        ("hits[0].certainty", "sure", "hits[0].certainty: must be one of certain, possible, unknown."),
        ("hits[0].access", ["read"], "hits[0].access: must be one of read, write, list, delete, unknown."),
        ("hits[0].family", "", "hits[0].family: must have 1 to 700 characters."),
        ("hits[0].family", "x" * 701, "hits[0].family: must have 1 to 700 characters."),
        ("hits[0].text", "x" * 201, "hits[0].text: must have 0 to 200 characters."),
        ("hits[0].text", "a\x00b", "hits[0].text: must not contain control characters or surrogates."),
        ("hits[0].text", "a\ud800", "hits[0].text: must not contain control characters or surrogates."),
        ("hits[0].context", ["", ""], "hits[0].context: must be a list of 3 lines."),
        ("hits[0].context[1]", "x" * 301, "hits[0].context[1]: must have 0 to 300 characters."),
        ("hits[0].context[2]", "a\nb", "hits[0].context[2]: must not contain control characters or surrogates."),
        ("hits[0].file", "/etc/passwd", "hits[0].file: must not be an absolute path."),
        ("hits[0].file", "C:/a.js", "hits[0].file: must not be an absolute path."),
        ("hits[0].file", "src\\a.js", "hits[0].file: must not contain a backslash."),
        ("hits[0].file", "src/../../a.js", "hits[0].file: must stay inside the checkout."),
        ("hits[0].file", "src//a.js", "hits[0].file: must stay inside the checkout."),
        ("hits[0].file", "a\x07.js", "hits[0].file: must not contain control characters or surrogates."),
        ("hits[0].file", None, "hits[0].file: must be text."),
        ("hits[0].colour", "red", "hits[0].colour: is not a name of a report."),
        ("hits[0]", [], "hits[0]: must be an object."),
        ("hits", {}, "hits: must be a list."),
        ("files", 0, "files: must be a positive integer."),
        ("files", "2", "files: must be a positive integer."),
        ("commit", "main; rm", "commit: must be a commit or the id of a version."),
        ("searched_at", "2026-11-28T15:00:01", "searched_at: must say its time zone."),
        ("searched_at", "0001-01-01T00:00:00+14:00", "searched_at: must be a time of ISO 8601."),
        ("searched_at", "yesterday", "searched_at: must be a time of ISO 8601."),
        ("unparsed", ["src/b.ts"], "unparsed[0]: has no hit of certainty unknown and family *."),
        ("unparsed", ["../b.ts"], "unparsed[0]: must stay inside the checkout."),
    ],
)
def test_a_report_with_a_wrong_value_is_refused_with_its_place(path: str, value: object, place: str) -> None:
    with pytest.raises(ReportRefused) as refused:
        loads(changed(path, value))
    assert str(refused.value) == place


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The file is not JSON: line 1, column 1."),
        (b"\xff", "The file is not UTF-8: byte 1 is wrong."),
        (b"[]", "The file: must be an object."),
        (b"NaN", "The file: must be an object."),
        (b"{}", "commit: is missing."),
        (b'{"commit":"a","commit":"b"}', "commit: stands there twice."),
        (b'{"hits":[{"line":1,"line":1}]}', "commit: is missing."),
        (b"[" * 1_000_000, "The file is nested more than 8 deep."),
        (b"1" * 5000, "The file is not JSON of a report."),
        (b"\n" * 4_000_000, "The file is not JSON: line 4000001, column 1."),
        (b'{"a' + b"a" * 4_000_000, "The file is not JSON: line 1, column 2."),
        (b" " * (20 * 1024 * 1024 + 1), "The file has more than 20 MiB."),
    ],
    ids=range(12),
)
def test_a_file_that_is_no_report_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ReportRefused) as refused:
        loads(data)
    assert str(refused.value) == reason


def test_a_name_that_stands_twice_in_a_hit_is_refused_with_its_place() -> None:
    data = dumps(REPORT).replace(b'"line":3', b'"line":3,"line":4')
    with pytest.raises(ReportRefused, match=r"^hits\[0\]\.line: stands there twice\.$"):
        loads(data)


def test_a_file_of_too_many_parts_or_too_deep_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_args, **_more: pytest.fail("it was parsed"))
    with pytest.raises(ReportRefused, match="more than 100000 objects and lists"):
        loads(b"[" + b"{}," * MOST_PARTS + b"{}]")
    with pytest.raises(ReportRefused, match="nested more than 8 deep"):
        loads(b'{"hits":' + b"[" * MOST_DEPTH)


def test_a_list_of_too_many_items_is_refused_before_one_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "_file", lambda *_args: pytest.fail("it was looked at"))
    data = json.loads(dumps(replace(REPORT, hits=(), unparsed=())))
    data["unparsed"] = ["a"] * (MOST_PARTS + 1)
    with pytest.raises(ReportRefused, match=r"^unparsed: must have at most 100000 items\.$"):
        loads(json.dumps(data).encode())


def test_brackets_in_the_lines_of_code_are_no_parts_of_a_file() -> None:
    braces = replace(HIT, text='"[{' * 20, context=("{" * 200, '\\"[' * 40, "["))
    report = replace(REPORT, hits=(braces,) * 100)
    assert loads(dumps(report)) == report


def test_an_object_is_searched_once_and_has_a_bound_of_members() -> None:
    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other) is True

        __hash__ = str.__hash__

    assert _Object([(Name(f"n{number}"), 0) for number in range(1000)]).twice is None
    assert _Object([(Name(f"n{number}"), 0) for number in [*range(500), 7]]).twice == "n7"
    assert Name.compared < 2000
    many = {f"a{number}": "1" for number in range(MOST_MEMBERS + 1)}
    with pytest.raises(ReportRefused, match=r"hits\[0\]: must have at most 1000 members"):
        loads(changed("hits[0]", many))
