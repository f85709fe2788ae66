"""The structural difference names paths, kinds and types, and no value."""

import pytest

from backups.changes.differences import MOST, between, paths

CASES: list[tuple[bytes | None, bytes, list[tuple[str, str, str, str]]]] = [
    (b'{"a":1}', b'{"a":1}', []),
    (b'{"a":1}', b'{"a":2}', [("a", "changed", "number", "number")]),
    (b'{"a":1}', b'{"a":"1"}', [("a", "changed", "number", "string")]),
    (b'{"a":1}', b'{"a":true}', [("a", "changed", "number", "boolean")]),
    (b'{"a":null}', b'{"b":[]}', [("a", "removed", "null", ""), ("b", "added", "", "array")]),
    (b'{"m":{"h":["x","y"]}}', b'{"m":{"h":["x"]}}', [("m.h[1]", "removed", "string", "")]),
    (b'{"m":{"h":["x"]}}', b'{"m":{"h":["y","z"]}}', [
        ("m.h[0]", "changed", "string", "string"), ("m.h[1]", "added", "", "string"),
    ]),
    (b'{"a":1,"b":1}', b'{"a":1.0,"b":2}', [
        ("a", "changed", "number", "number"), ("b", "changed", "number", "number"),
    ]),
    (b'{"a":[0,{"c":1}]}', b'{"a":[false,{"c":1e0}]}', [
        ("a[0]", "changed", "number", "boolean"), ("a[1].c", "changed", "number", "number"),
    ]),
    (b'{"a":1}', b'{ "a": 1 }', [("$", "changed", "object", "object")]),
    (b"{}", b'{"m":{"sk_live_4242":1}}', [("m", "added", "", "object")]),
    (b'{"m":{}}', b'{"m":{"sk_live_4242":1}}', [("m.•••", "added", "", "number")]),
    (b"[1]", b"{}", [("$", "changed", "array", "object")]),
    (b"plain", b'{"a":1}', [("$", "changed", "text", "object")]),
    (b"\xff", b"plain", [("$", "changed", "binary", "text")]),
    (None, b"on", [("$", "added", "", "text")]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "lines"), CASES)
def test_the_paths_that_change_are_named(old: bytes | None, new: bytes, lines: list[tuple[str, str, str, str]]) -> None:
    found, more = between(old, new)
    assert [(one.path, one.kind, one.before, one.after) for one in found] == lines
    assert not more


def test_a_long_difference_is_cut_and_says_so() -> None:
    found, more = between(b"[]", b"[" + b",".join([b"1"] * (MOST + 1)) + b"]")
    assert (len(found), more) == (MOST, True)


def test_deep_json_is_compared_as_a_whole_below_some_level() -> None:
    deep = b'{"a":' * 60 + b"%d" + b"}" * 60
    [one], _more = between(deep % 1, deep % 2)
    assert (one.kind, one.before) == ("changed", "object")


def test_a_number_below_some_level_is_not_taken_for_true_or_for_another_spelling() -> None:
    deep = b'{"n":1,"a":' + b'{"a":' * 60 + b"%b" + b"}" * 61
    older = deep % b"1"
    for new in (b"1.0", b"true"):
        found, _more = between(older, deep.replace(b'"n":1', b'"n":2') % new)
        assert (found[0].path, len(found)) == ("n", 2)


def test_the_paths_of_a_value_are_hints_with_types() -> None:
    assert paths(b'{"m":{"h":["x"]},"n":1}') == [
        ("$", "object"),
        ("m", "object"),
        ("m.h", "array"),
        ("m.h[0]", "string"),
        ("n", "number"),
    ]
    assert paths(b"plain") == []
