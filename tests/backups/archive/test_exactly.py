"""The format of digests, data objects and manifests, to the byte; it needs no database and no network.

Copies of years ago must be readable, so what is pinned here may only ever be joined by another format.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest

from backups.archive import (
    BadManifest,
    Counts,
    Damaged,
    EntryDigests,
    Manifest,
    ManifestError,
    Part,
    Root,
    check_part,
    digest_root,
    encode_digests,
    entry_digest,
    names_sha256,
    parse_entry,
    parse_manifest,
    parts_root,
    read_digests,
    read_entries,
    reading as reading_module,
)
from kvops.cloudflare import KvEntry

HEADER = b"# kvops digests 1: entry name value metadata expiration\n"
ABSENT = b"\xff\xff\xff\xff"
ONE, TWO, THREE = (sha256(b"%d" % n).digest() for n in (1, 2, 3))


def field(data: bytes) -> bytes:
    return bytes([len(data) >> 24, len(data) >> 16 & 255, len(data) >> 8 & 255, len(data) & 255]) + data


# An entry's digest


def test_known_entries_have_known_digests() -> None:
    value = sha256(b"value").digest()
    assert entry_digest("a", value, None, None).hex() == KNOWN["bare"]
    assert entry_digest("医:1", value, '{"v":1.0}', 2_000_000_000).hex() == KNOWN["full"]
    assert entry_digest("", sha256(b"").digest(), "", 0).hex() == KNOWN["empty"]


KNOWN = {
    "bare": "386347a9444e7714c275a670625639f7286bb9c583ebf084f14364b43c29cda2",
    "full": "e62903bc21e9bae6ed590ea315dc8e3380d1315451930f7bbd03e656f8ca8a53",
    "empty": "fb5df5253bbf2c21b1a3704e709b540f38032eaa7b581401160ed84e846a6693",
    "root of none": "18d7a6e86d73b72fdfc7bc82afec9979e93ac6905578448a3363c32e555dbf36",
    "root of two": "56f721779beb7624a3cedcdab595f1347ff87e8f53498fdeb2157578f5fd7426",
    "names": "26783e90c7b46c23ffdf4f788f64c6c9bae4ca869bf2703b24272686c63852de",
}


@pytest.mark.parametrize("name", ["a", "", "医院", "x" * 255, "x" * 256, "x" * 512])
@pytest.mark.parametrize("metadata", [None, "", "{}", "y" * 256, "y" * 65_536])
@pytest.mark.parametrize("expiration", [None, 0, -1, 9, 2**62])
def test_an_entry_is_four_fields_in_this_order(name: str, metadata: str | None, expiration: int | None) -> None:
    told = b"kvops:entry:1\0" + field(name.encode()) + field(ONE)
    told += ABSENT if metadata is None else field(metadata.encode())
    told += ABSENT if expiration is None else field(str(expiration).encode())
    assert entry_digest(name, ONE, metadata, expiration) == sha256(told).digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", ONE, None, None), ("a", ONE, "", None)),
        (("a", ONE, "1", None), ("a", ONE, None, 1)),
        (("a", ONE, None, 0), ("a", ONE, None, None)),
        (("a", ONE, "ab", None), ("aa", ONE, "b", None)),
        (("a", ONE, "1", 2), ("a", ONE, "12", None)),
        (("a", ONE, None, 1), ("a", ONE, None, 10)),
        (("a", ONE, "{}", None), ("a", TWO, "{}", None)),
        (("\u00e9", ONE, None, None), ("e\u0301", ONE, None, None)),
    ],
)
def test_entries_that_differ_have_other_digests(
    one: tuple[str, bytes, str | None, int | None], other: tuple[str, bytes, str | None, int | None]
) -> None:
    assert entry_digest(*one) != entry_digest(*other)


# Roots and names


def test_known_lists_have_known_roots() -> None:
    assert digest_root([]) == Root().hexdigest() == KNOWN["root of none"]
    assert digest_root([ONE, TWO]) == KNOWN["root of two"]


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 300])
def test_a_root_is_over_all_digests_and_their_number_in_eight_bytes(count: int) -> None:
    digests = [sha256(b"%d" % n).digest() for n in range(count)]
    told = b"kvops:root:1\0" + b"".join(digests) + bytes(6) + bytes([count >> 8, count & 255])
    assert digest_root(digests) == sha256(told).hexdigest()


def test_a_root_can_be_asked_for_at_any_time_and_goes_on() -> None:
    root = Root()
    found = []
    for digest in (ONE, TWO, THREE):
        root.add(digest)
        found.append(root.hexdigest())
        assert root.hexdigest() == found[-1]
    assert found == [digest_root([ONE]), digest_root([ONE, TWO]), digest_root([ONE, TWO, THREE])]


def test_a_known_list_of_names_has_a_known_digest() -> None:
    assert names_sha256(["a", "a:", "医"]) == KNOWN["names"]
    assert names_sha256([]) == sha256(b"").hexdigest()
    assert names_sha256(iter(["", "a"])) == sha256(field(b"") + field(b"a")).hexdigest()


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["", ""], ["a", "b", "b"], ["\U0001f3e5", "\uffff"]])
def test_names_out_of_order_are_refused_and_named(names: list[str]) -> None:
    with pytest.raises(ManifestError, match=re.escape(f"each once: {names[-1]!r} is out of place")):
        names_sha256(names)


# The digests object


def line(entry: bytes, name: bytes, value: bytes, metadata: bytes | None, expiration: int | None) -> EntryDigests:
    return EntryDigests(entry.hex(), name.hex(), value.hex(), metadata.hex() if metadata else None, expiration)


LINES = [
    line(ONE, TWO, THREE, None, None),
    line(TWO, THREE, ONE, ONE, 0),
    line(THREE, ONE, TWO, None, -5),
    line(THREE, ONE, TWO, TWO, 2**62),
]


def test_a_line_says_entry_name_value_metadata_and_expiration() -> None:
    assert LINES[0].line() == f"{ONE.hex()} {TWO.hex()} {THREE.hex()} - -\n".encode()
    assert LINES[1].line() == f"{TWO.hex()} {THREE.hex()} {ONE.hex()} {ONE.hex()} 0\n".encode()


def test_lines_come_back_as_they_were() -> None:
    written = encode_digests(LINES)
    assert written == HEADER + b"".join(one.line() for one in LINES)
    assert list(read_digests(written)) == LINES
    assert list(read_digests(encode_digests([]))) == []


def test_the_digests_of_an_entry_are_those_of_its_fields() -> None:
    found = EntryDigests.of("医", b"\xff", "1.0", 7)
    assert found == EntryDigests(
        entry_digest("医", sha256(b"\xff").digest(), "1.0", 7).hex(),
        sha256("医".encode()).hexdigest(),
        sha256(b"\xff").hexdigest(),
        sha256(b"1.0").hexdigest(),
        7,
    )
    bare = EntryDigests.of("a", b"", None, None)
    assert (bare.metadata, bare.expiration) == (None, None)
    assert EntryDigests.of("a", b"", "", 0).metadata == sha256(b"").hexdigest()


GOOD = LINES[1].line()


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD[:-1], GOOD[1:], b"\n", b"\n" + GOOD, GOOD.upper(), GOOD.replace(b" ", b"  ", 1), GOOD[:-1] + b" \n",
        GOOD.replace(b" 0\n", b"\n"), GOOD.replace(b" 0\n", b" --\n"), GOOD.replace(b" 0\n", b" 1.0\n"),
        GOOD.replace(b" 0\n", b" +1\n"), GOOD.replace(b" 0\n", b" " + b"9" * 20 + b"\n"), GOOD[1:-1] + b"0\n",
        GOOD.replace(b" 0\n", b" 0\r\n"), GOOD.replace(ONE.hex().encode(), b"-", 1), b"x" * 200 + b"\n",
        GOOD.replace(b" 0\n", b" -\n", 1)[:-2] + b"\xff\n", GOOD[:64] + b"g" + GOOD[65:],
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [0, 1])
def test_a_line_that_is_none_is_damage_with_its_place(wrong: bytes, before: int) -> None:
    data = HEADER + LINES[0].line() * before
    with pytest.raises(Damaged, match=f"at byte {len(data)}[.]"):
        list(read_digests(data + wrong))


@pytest.mark.parametrize("header", [b"", HEADER[:-1], HEADER.replace(b"1", b"2"), b" " + HEADER, GOOD])
def test_another_header_is_damage(header: bytes) -> None:
    with pytest.raises(Damaged, match="header of format 1"):
        list(read_digests(header))


def test_lines_before_the_damage_are_still_told() -> None:
    found = read_digests(HEADER + GOOD + b"x\n")
    assert next(found) == LINES[1]
    with pytest.raises(Damaged):
        next(found)


# Entries


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ('{"key":"a","value":"b"}', KvEntry("a", b"b", None, None)),
        ('{"value":"b","key":"a"}', KvEntry("a", b"b", None, None)),
        (' {\t"key" : "a" ,\n"value":\r"b" } '.strip(), KvEntry("a", b"b", None, None)),
        ('{"key":"","value":""}', KvEntry("", b"", None, None)),
        ('{"key":"a","value":"/w==","base64":true}', KvEntry("a", b"\xff", None, None)),
        ('{"key":"a","value":"","base64":true}', KvEntry("a", b"", None, None)),
        ('{"key":"a","value":"b","expiration":0}', KvEntry("a", b"b", 0, None)),
        ('{"key":"a","value":"b","expiration":-1}', KvEntry("a", b"b", -1, None)),
        ('{"key":"a","value":"b","expiration":1234567890123456789}', KvEntry("a", b"b", 1234567890123456789, None)),
        ('{"key":"a","value":"b","metadata":null}', KvEntry("a", b"b", None, "null")),
        ('{"key":"a","value":"b","metadata": {"v": 1.0} }', KvEntry("a", b"b", None, '{"v": 1.0}')),
        ('{"key":"a","metadata":1e400,"value":"b"}', KvEntry("a", b"b", None, "1e400")),
        ('{"key":"a","value":"\\u65e5\\n"}', KvEntry("a", "日\n".encode(), None, None)),
    ],
)
def test_what_an_entry_may_look_like(text: str, entry: KvEntry) -> None:
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"value":"b"}', "'key' is missing or unknown"),
        ('{"key":"a"}', "'value' is missing or unknown"),
        ('{"ttl":1}', "'key, ttl, value' is missing or unknown"),
        ('{"key":1,"value":"b"}', "key and value must be strings"),
        ('{"key":"a","value":null}', "key and value must be strings"),
        ('{"key":"a","value":1}', "key and value must be strings"),
        ('{"key":"a","value":"b","base64":1}', "base64 must be true where it stands"),
        ('{"key":"a","value":"b","base64":false}', "base64 must be true where it stands"),
        ('{"key":"a","value":"b","expiration":null}', "expiration must be whole seconds"),
        ('{"key":"a","value":"b","expiration":"1"}', "expiration must be whole seconds"),
        ('{"key":"a","value":"b","expiration":1.0}', "expiration must be whole seconds"),
        ('{"key":"a","value":"b","expiration":12345678901234567890}', "expiration must be whole seconds"),
        ('{"key":"a","key":"a","value":"b"}', "a member is not a string or stands there twice"),
        ('{1:"a","value":"b"}', "a member is not a string or stands there twice"),
        ('{"key" "a","value":"b"}', "a ':' is missing"),
        ('{"key":"a" "value":"b"}', "a ',' is missing"),
        ('["key","a"]', "a '{' is missing"),
        ('{"key":"a","value":"b"} ', "something follows the entry"),
        ('{"key":"a","value":"b"}}', "something follows the entry"),
        ('{"key":"a","value":"b","metadata":NaN}', "NaN is not JSON"),
        ('{"key":"a","value":"b","metadata":}', "it is not JSON"),
        ('{"key":"\\ud800","value":"b"}', "it is not JSON"),
        ('{"key":"a","value":"\\ud800"}', "it is not JSON"),
        ('{"key":"a","value":"*/w==","base64":true}', "Only base64 data is allowed"),
        ('{"key":"a","value":"/w=","base64":true}', "Incorrect padding"),
    ],
)
def test_what_is_no_entry_and_why(text: str, reason: str) -> None:
    with pytest.raises(Damaged, match=re.escape(f"An entry cannot be read: {reason}.")):
        parse_entry(text)


def test_too_deep_metadata_is_damage_and_no_crash() -> None:
    with pytest.raises(Damaged, match="An entry cannot be read"):
        parse_entry('{"key":"a","value":"b","metadata":' + "[" * 200_000)


# Arrays of entries

A, B = '{"key":"a","value":"1"}', '{"key":"b","value":"2"}'


def read(text: str, size: int = 0) -> list[str]:
    data = text.encode()
    chunks = [data] if not size else [data[at : at + size] for at in range(0, len(data), size)]
    return [entry.name for entry in read_entries(chunks)]


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[]", []),
        (" [ ]\n", []),
        (f"[{A}]", ["a"]),
        (f"[\n{A},\n{B}\n]\n", ["a", "b"]),
        (f"\t[ {A} ,\r\n {B} ] ", ["a", "b"]),
        ('[{"key":"a","value":"}]\\"{["}]', ["a"]),
        ('[{"key":"a","value":"\\\\"},{"key":"b","value":"\\\\\\""}]', ["a", "b"]),
        ('[{"key":"a","value":"1","metadata":{"x":{"y":"}"}}}]', ["a"]),
    ],
)
def test_an_array_is_read_however_it_is_spaced_and_cut(text: str, names: list[str], size: int) -> None:
    assert read(text, size) == names


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at byte 0 '[' should stand"),
        ("{}", "at byte 0 '[' should stand"),
        (" x", "at byte 1 '[' should stand"),
        ("[", "at byte 1 an entry should begin"),
        ("[,", "at byte 1 an entry should begin"),
        ("[1]", "at byte 1 an entry should begin"),
        (f"[{A}", "at byte 24 ',' should stand"),
        (f"[{A}{B}]", "at byte 24 ',' should stand"),
        (f"[{A},]", "at byte 25 an entry should begin"),
        (f"[{A},,{B}]", "at byte 25 an entry should begin"),
        (f"[{A}]]", "at byte 25 the file should end"),
        (f"[{A}] {B}", "at byte 26 the file should end"),
        (f"[{A},{B[:-1]}", "cut off in the entry that begins at byte 25"),
        ('[{"key":"a\\', "cut off in the entry that begins at byte 1"),
        ('[{"key":"a', "cut off in the entry that begins at byte 1"),
    ],
)
def test_an_array_that_is_none_says_where(text: str, said: str, size: int) -> None:
    with pytest.raises(Damaged, match=re.escape(f"{said}.")):
        read(text, size)


@pytest.mark.parametrize(("first", "second"), [("b", "a"), ("a", "a"), ("\U0001f3e5", "\uffff"), ("", "")])
def test_entries_must_come_in_the_order_of_their_bytes(first: str, second: str) -> None:
    text = "[" + ",".join(json.dumps({"key": key, "value": ""}, ensure_ascii=False) for key in (first, second)) + "]"
    with pytest.raises(Damaged, match=re.escape(f"The entry {second!r} is there twice or out of order.")):
        read(text)


def test_bytes_that_are_no_text_are_damage() -> None:
    with pytest.raises(Damaged, match=r"^An entry is not UTF-8\.$"):
        list(read_entries([b'[{"key":"a","value":"\xff"}]']))


@pytest.mark.parametrize(("length", "taken"), [(63, True), (64, True), (65, False), (66, False)])
def test_an_entry_is_given_up_on_beyond_the_limit(monkeypatch: pytest.MonkeyPatch, length: int, taken: bool) -> None:
    monkeypatch.setattr(reading_module, "MAX_ENTRY_BYTES", 64)
    text = '{"key":"a","value":"' + "x" * (length - 22) + '"}'
    chunks = [b"[", *(text[at : at + 1].encode() for at in range(length)), b"]"]
    if taken or length == 65:  # looked at only when one more byte is needed
        assert len(list(read_entries(chunks))) == 1
    else:
        with pytest.raises(Damaged, match="at byte 1 an entry of at most 64 MiB should stand"):
            list(read_entries(chunks))


def test_entries_are_told_before_the_rest_has_arrived() -> None:
    def chunks() -> Iterator[bytes]:
        yield f"[{A},".encode()
        raise AssertionError("asked for too much")

    assert next(read_entries(chunks())).name == "a"


# A part against its digests and its manifest


def written(*entries: KvEntry) -> tuple[bytes, bytes, Part]:
    """A data object, its digests and what the manifest says of them, without the product's own writer."""
    shown = []
    for entry in entries:
        members = {"key": entry.name, "value": entry.data.decode(), "expiration": entry.expiration}
        text = json.dumps({k: v for k, v in members.items() if v is not None})
        shown.append(text if entry.metadata is None else f'{text[:-1]},"metadata":{entry.metadata}}}')
    body = f"[{','.join(shown)}]".encode()
    lines = [EntryDigests.of(e.name, e.data, e.metadata, e.expiration) for e in entries]
    digests = encode_digests(lines)
    part = Part(
        key="s.json", number=1, api_only=False, keys=len(entries), value_bytes=0, expiring=0, size=len(body),
        sha256=sha256(body).hexdigest(), digest_root=digest_root(bytes.fromhex(one.entry) for one in lines),
        digests_key="s.json.digests", digests_sha256=sha256(digests).hexdigest(),
    )  # fmt: skip
    return body, digests, part


FOUND = [KvEntry("a", b"1", None, "{}"), KvEntry("b", b"2", 5, None), KvEntry("c", b"3", None, None)]


def problems(body: bytes, digests: bytes, part: Part) -> tuple[str, ...]:
    return tuple(map(str, check_part([body], digests, part).problems))


def test_a_part_as_written_has_no_problem_and_says_what_was_read() -> None:
    body, digests, part = written(*FOUND)
    found = check_part([body[:7], body[7:]], digests, part)
    assert found.problems == ()
    assert (found.keys, found.size, found.sha256, found.digest_root) == (3, part.size, part.sha256, part.digest_root)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digests_sha256": "0" * 64}, "The digests object is not the one written."),
        ({"size": 9}, "Bytes of the object: {size}, written: 9."),
        ({"sha256": "0" * 64}, "The SHA-256 of the object is not the one in the manifest."),
        ({"keys": 2}, "Entries that could be read: 3, written: 2."),
        ({"digest_root": "0" * 64}, "The digest root is not the one computed from KV."),
    ],
)
def test_each_word_of_the_manifest_is_compared(change: dict[str, object], said: str) -> None:
    body, digests, part = written(*FOUND)
    found = problems(body, digests, replace(part, **change))  # type: ignore[arg-type]
    assert found == (said.format(size=len(body)),)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(FOUND[1], data=b"x"), "'b' differs in value."),
        (replace(FOUND[1], expiration=6), "'b' differs in expiration."),
        (replace(FOUND[1], expiration=None), "'b' differs in expiration."),
        (replace(FOUND[1], metadata="{}"), "'b' differs in metadata."),
        (replace(FOUND[1], name="bb"), "'bb' differs in name."),
        (KvEntry("bb", b"x", 6, "1"), "'bb' differs in name, value, metadata, expiration."),
    ],
)
def test_an_entry_that_differs_is_named_with_what_differs(other: KvEntry, said: str) -> None:
    body = written(FOUND[0], other, FOUND[2])[0]
    _, digests, part = written(*FOUND)
    found = problems(body, digests, replace(part, size=len(body), sha256=sha256(body).hexdigest()))
    assert found == (said, "The digest root is not the one computed from KV.")


def test_a_line_whose_entry_digest_alone_is_wrong_is_found() -> None:
    body, _, part = written(FOUND[0])
    forged = encode_digests([replace(EntryDigests.of("a", b"1", "{}", None), entry="0" * 64)])
    assert problems(body, forged, replace(part, digests_sha256=sha256(forged).hexdigest())) == (
        "'a' differs in its digest.",
    )


def told_of(body: bytes, digests: bytes, part: Part) -> Part:
    """The part with the sizes and sums of what was read, so that only the entries differ."""
    sums = sha256(body).hexdigest(), sha256(digests).hexdigest()
    return replace(part, size=len(body), sha256=sums[0], digests_sha256=sums[1])


def test_more_lines_than_entries_is_said_once() -> None:
    (body, *_), (_, digests, part) = written(*FOUND[:1]), written(*FOUND)
    assert problems(body, digests, told_of(body, digests, part)) == (
        "The digests list more entries than the object holds.",
        "Entries that could be read: 1, written: 3.",
        "The digest root is not the one computed from KV.",
    )


def test_more_entries_than_lines_are_each_named() -> None:
    (body, *_), (_, digests, part) = written(*FOUND), written(*FOUND[:1])
    assert problems(body, digests, told_of(body, digests, part)) == (
        "'b' has no digests.",
        "'c' has no digests.",
        "Entries that could be read: 3, written: 1.",
        "The digest root is not the one computed from KV.",
    )


def test_what_follows_damage_is_still_summed() -> None:
    body, digests, part = written(*FOUND)
    torn = body.replace(b'"b"', b"'b'")
    found = check_part([torn[:5], torn[5:]], digests, part)
    assert str(found.problems[0]).startswith("An entry cannot be read: it is not JSON")
    assert (found.keys, found.size, found.sha256) == (1, len(torn), sha256(torn).hexdigest())


def test_damaged_digests_are_a_problem_and_no_crash() -> None:
    body, digests, part = written(*FOUND)
    assert problems(body, digests[:-9], part)[0].startswith("The digests are damaged or cut off at byte ")
    assert problems(body, b"", part)[0] == "The digests do not start with the header of format 1."


@pytest.mark.parametrize(("wrong", "listed"), [(17, 19), (18, 20), (19, 21), (40, 21)])
def test_twenty_problems_are_listed_and_the_rest_counted(wrong: int, listed: int) -> None:
    entries = [KvEntry(f"k{n:03}", b"1", None, None) for n in range(wrong)]
    body = written(*(replace(e, data=b"2") for e in entries))[0]
    _, digests, part = written(*entries)
    found = problems(body, digests, part)  # two more: the SHA-256 and the root
    assert len(found) == listed
    assert (found[-1] == f"… and {wrong + 2 - 20} more.") == (wrong + 2 > 20)


def test_errors_of_the_store_go_through() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"[{"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        check_part(chunks(), HEADER, written()[2])


# The manifest

AT = datetime(2026, 11, 25, 3, 15, 0, 123456, tzinfo=UTC)
STEM = "backups/kv/master/x"


def part(number: int = 1, *, api_only: bool = False, keys: int = 1, key: str = "", **more: object) -> Part:
    named = key or f"{STEM}{'' if number == 1 else f'.part-{number:05}'}{'.api-only' if api_only else ''}.json"
    values: dict[str, object] = {
        "key": named, "number": number, "api_only": api_only, "keys": keys, "value_bytes": 10 * keys, "expiring": 0,
        "size": 100, "sha256": ONE.hex(), "digest_root": TWO.hex(), "digests_key": f"{named}.digests",
        "digests_sha256": THREE.hex(), **more,
    }  # fmt: skip
    return Part(**values)  # type: ignore[arg-type]


def manifest(*parts: Part, **more: object) -> Manifest:
    parts = parts or (part(),)
    values: dict[str, object] = {
        "environment": "qa", "account_id": "acc", "binding": "SETTINGS", "namespace_id": "ns", "namespace_title": "t",
        "bucket": "b", "stem": STEM, "prefixes": ("master:",), "families": ("master:*",), "parts": parts,
        "counts": Counts(keys=sum(p.keys for p in parts), value_bytes=sum(p.value_bytes for p in parts), vanished=0),
        "digest_root": parts_root(parts), "restore_sha256": ONE.hex(), "started_at": AT,
        "finished_at": AT + timedelta(microseconds=1), "retain_until": AT + timedelta(days=14), "made_by": "o",
        "code_version": "1", "audit_sequence": 7, "audit_hash": "ab", **more,
    }  # fmt: skip
    return Manifest(**values)  # type: ignore[arg-type]


def test_a_known_manifest_has_known_bytes() -> None:
    assert sha256(manifest().to_json()).hexdigest() == MANIFEST
    assert parse_manifest(manifest().to_json()) == manifest()


MANIFEST = "49c04e4bc70a727dfed97766d43dbc1e8d9d5a486d719d78a24109e79e0ac80e"


def test_the_root_of_a_backup_is_that_of_its_parts_roots() -> None:
    parts = (part(), part(2, digest_root=THREE.hex()))
    assert parts_root(parts) == digest_root([TWO, THREE])


def test_times_are_written_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tokyo = timezone(timedelta(hours=9))
    written = manifest().to_json()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert manifest(started_at=AT.astimezone(tokyo)).to_json() == written
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: manifest(digest_root="0" * 64), "The digest root in the manifest of"),
        (lambda: manifest(restore_sha256=""), "A digest in the manifest of"),
        (lambda: manifest(restore_sha256="A" * 64), "A digest in the manifest of"),
        (lambda: manifest(part(sha256="0" * 63)), "A digest in the manifest of"),
        (lambda: manifest(part(sha256="0" * 64 + "\n")), "A digest in the manifest of"),
        (lambda: manifest(part(digests_sha256="0" * 65)), "A digest in the manifest of"),
        (lambda: manifest(part(), part(2, digests_sha256="x" * 64)), "A digest in the manifest of"),
        (lambda: manifest(started_at=AT.replace(tzinfo=None)), "has no time zone"),
        (lambda: manifest(finished_at=AT.replace(tzinfo=None)), "has no time zone"),
        (lambda: manifest(retain_until=AT.replace(tzinfo=None)), "has no time zone"),
        (lambda: manifest(finished_at=AT - timedelta(microseconds=1)), "are not in order"),
        (lambda: manifest(retain_until=AT), "are not in order"),
        (lambda: manifest(counts=Counts(keys=2, value_bytes=10, vanished=0)), "do not add up to its number of keys"),
        (lambda: manifest(counts=Counts(keys=1, value_bytes=11, vanished=0)), "do not add up to its bytes"),
        (lambda: manifest(part(key=f"{STEM}.part-00001.json")), "which is not an object of it"),
        (lambda: manifest(part(key="elsewhere.json")), "which is not an object of it"),
        (lambda: manifest(part(key=f"{STEM}.api-only.json")), "which is not an object of it"),
        (lambda: manifest(part(), part(2, key=f"{STEM}.part-00003.json")), "which is not an object of it"),
        (lambda: manifest(part(digests_key=f"{STEM}.digests")), "names other digests for"),
        (lambda: manifest(part(2)), "lacks a part or names one twice"),
        (lambda: manifest(part(), part(3)), "lacks a part or names one twice"),
        (lambda: manifest(part(), part()), "lacks a part or names one twice"),
        (lambda: manifest(part(2), part()), "lacks a part or names one twice"),
        (lambda: manifest(part(api_only=True)), "lacks a part or names one twice"),
        (lambda: manifest(part(api_only=True), part()), "lacks a part or names one twice"),
        (lambda: manifest(part(), part(api_only=True), part(api_only=True)), "lacks a part or names one twice"),
        (lambda: replace(manifest(), parts=(), counts=Counts(keys=0, value_bytes=0, vanished=0),
                         digest_root=digest_root([])), "lacks a part or names one twice"),
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_not_written(wrong: Callable[[], Manifest], said: str) -> None:
    with pytest.raises(BadManifest, match=re.escape(said)):
        wrong().to_json()


@pytest.mark.parametrize(
    "sound",
    [
        lambda: manifest(finished_at=AT, retain_until=AT),
        lambda: manifest(part(), part(api_only=True), part(2), part(2, api_only=True)),
        lambda: manifest(part(key=f"{STEM}.try-2.json"), part(2, key=f"{STEM}.part-00002.try-13.json")),
        lambda: manifest(part(), part(api_only=True, key=f"{STEM}.try-2.api-only.json")),
        lambda: manifest(part(keys=0)),
        lambda: manifest(*(part(n) for n in range(1, 12))),
        lambda: manifest(prefixes=(), families=()),
        lambda: manifest(part(key=f"{STEM}.json.age"), recipients=("age1x", "age1y"), digest_key="0" * 16),
        lambda: manifest(
            part(key=f"{STEM}.try-2.json.age"),
            part(api_only=True, key=f"{STEM}.api-only.json.age"),
            recipients=("age1x", "age1y"),
            digest_key="0" * 16,
        ),
    ],
)
def test_a_sound_manifest_comes_back(sound: Callable[[], Manifest]) -> None:
    assert parse_manifest(sound().to_json()) == sound()


def changed(**members: object) -> bytes:
    found = {**json.loads(manifest().to_json()), **members}
    return (json.dumps(found, sort_keys=True, indent=2) + "\n").encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "^The manifest is not JSON.$"),
        (b"\xff", "^The manifest is not JSON.$"),
        (b"[" * 200_000, "^The manifest is not JSON.$"),
        (b"[]", "not a manifest of format 1; a newer KVOps"),
        (b"{}", "not a manifest of format 1; a newer KVOps"),
        (changed(format=2), "not a manifest of format 1; a newer KVOps"),
        (changed(format="1"), "not a manifest of format 1; a newer KVOps"),
        (changed(format=True), "manifest.format has the wrong type."),
        (changed(extra=1), "manifest must have exactly the members format, environment"),
        (changed(counts=[]), "manifest.counts must have exactly the members keys, value_bytes, vanished."),
        (changed(counts={"keys": 1, "value_bytes": 10}), "manifest.counts must have exactly the members"),
        (changed(parts=[1]), "manifest.parts[0] must have exactly the members key"),
        (changed(prefixes=["a", 1]), "manifest.prefixes[1] has the wrong type."),
        (changed(prefixes="a"), "manifest.prefixes has the wrong type."),
        (changed(audit_sequence=7.0), "manifest.audit_sequence has the wrong type."),
        (changed(started_at="soon"), "manifest.started_at is not a time."),
        (changed(started_at=1), "manifest.started_at has the wrong type."),
        (changed(started_at="2026-11-25T03:15:00.123456+00:00"), "not in its canonical form"),
        (
            manifest().to_json()[:-1],
            "^The manifest was changed after it was written: it is not in its canonical form.$",
        ),
        (manifest().to_json() + b"\n", "not in its canonical form"),
        (json.dumps(json.loads(manifest().to_json())).encode(), "not in its canonical form"),
    ],
)
def test_what_is_no_manifest_and_why(data: bytes, said: str) -> None:
    pattern = re.escape(said.strip("^$"))
    with pytest.raises(BadManifest, match=f"^{pattern}$" if said.startswith("^") else pattern):
        parse_manifest(data)
