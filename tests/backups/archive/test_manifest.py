"""Layout, entries, digests and manifests: what was written is what is read, or it is noticed."""

import json
import random
import re
import subprocess
import sys
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from backups.archive import (
    CLINICS_TEMPLATE,
    KV_TEMPLATE,
    MASTERS_TEMPLATE,
    MAX_KEYS,
    BadEntry,
    BadManifest,
    Counts,
    Damaged,
    DataObject,
    LayoutError,
    Manifest,
    PartCheck,
    PartWriter,
    TemplateUse,
    check_part,
    digests_key,
    encode_array,
    encode_entry,
    encode_part,
    encode_prefix,
    kv_template,
    object_stem,
    parse_entry,
    parse_manifest,
    part_key,
    parts_root,
    read_digests,
    read_entries,
    restore_commands,
    validate_templates,
    with_restore_notes,
    wrangler_keeps,
    writing as writing_module,
)
from backups.archive.names import is_part_key
from kvops.cloudflare import KvEntry

AT = datetime(2026, 11, 25, 3, 15, 0, 123456, tzinfo=UTC)
STEM = "backups/kv/master/20261125T031500.123456Z"
EXACT_METADATA = [
    '{"v":1.0,"n":12345678901234567890}',
    '{"a":1,"a":2}',
    "1e400",
    "-0",
    "null",
    '"text"',
    '{"deep":[[[{"\\ud800":"\\u0041"}]]], "space" : 1 }',
    "9" * 5000,
]


def stem(template: str = KV_TEMPLATE, prefix: str = "master:", *, later: bool = False) -> str:
    tokyo = ZoneInfo("Asia/Tokyo")
    return object_stem(template, environment="qa", prefix=prefix, at=AT, zone=tokyo, later=later)


def write(*entries: KvEntry, number: int = 1) -> tuple[DataObject, ...]:
    writer = PartWriter()
    for entry in entries:
        assert writer.add(entry)
    return writer.finish(STEM, number)


def numbered(count: int) -> list[KvEntry]:
    return [KvEntry(f"master:{n:06}", b"v%d" % n, 2_000_000_000 + n, f'{{"n":{n}}}') for n in range(count)]


def check(written: DataObject, body: bytes | None = None, digests: bytes | None = None) -> PartCheck:
    body = written.body if body is None else body
    return check_part([body], written.digests if digests is None else digests, written.part)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# Names of objects


def test_a_backup_of_a_prefix_is_named_by_prefix_and_microsecond() -> None:
    assert stem(kv_template("master:"), "master:") == STEM


def test_clinics_and_masters_have_their_own_places() -> None:
    assert stem(kv_template("clinic:id:"), "clinic:id:") == "backups/kv/clinics/20261125T031500.123456Z"
    assert kv_template("clinic:summary:") == KV_TEMPLATE
    assert stem(MASTERS_TEMPLATE) == "backups/masters/20261125"
    assert stem(MASTERS_TEMPLATE, later=True) == "backups/masters/20261125-121500"


@pytest.mark.parametrize(("zone", "day"), [("Asia/Tokyo", "20261126"), ("UTC", "20261125")])
def test_a_date_is_a_day_of_the_teams_time_zone(zone: str, day: str) -> None:
    late = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
    named = object_stem(MASTERS_TEMPLATE, environment="qa", prefix="", at=late, zone=ZoneInfo(zone))
    assert named == f"backups/masters/{day}"


def test_an_environment_is_one_path_segment() -> None:
    named = object_stem("{environment}/{timestamp}", environment="a/b", prefix="", at=AT)
    assert named == "a%2Fb/20261125T031500.123456Z"


@pytest.mark.parametrize(
    ("prefix", "segment"),
    [
        ("master:", "master"),
        ("a:b::", "a:b:"),
        ("a/b %?#", "a%2Fb%20%25%3F%23"),
        ("医院:", "%E5%8C%BB%E9%99%A2"),
        ("~all", "%7Eall"),
        ("A_z.9-", "A_z.9-"),
        (".", "%2E"),
        ("..:", "%2E%2E"),
        ("X.X", "X.X"),
        ("", "~all"),
    ],
)
def test_a_prefix_is_one_harmless_path_segment(prefix: str, segment: str) -> None:
    assert encode_prefix(prefix) == segment


def test_the_first_part_has_the_plain_name_and_further_ones_a_number() -> None:
    assert part_key("s", 1) == "s.json"
    assert part_key("s", 2) == "s.part-00002.json"
    assert part_key("s", 1, api_only=True) == "s.api-only.json"
    assert part_key("s", 12, api_only=True) == "s.part-00012.api-only.json"


def test_a_name_longer_than_r2_takes_is_refused() -> None:
    with pytest.raises(LayoutError, match="shorter key template"):
        stem(prefix="医" * 170)


def test_the_longest_name_leaves_room_for_every_object_of_the_backup() -> None:
    room = 1024 - len(".part-00002.try-99.api-only.json.age.digests") - len("backups/kv//20261125T031500.123456Z")
    longest = stem(prefix="x" * room)
    assert len(digests_key(part_key(longest, 2, api_only=True, attempt=99, encrypted=True))) == 1024
    with pytest.raises(LayoutError, match="shorter key template"):
        stem(prefix="x" * (room + 1))


def test_what_a_stem_ends_with_is_no_attempt() -> None:
    assert is_part_key("s.try-2.json", "s.try-2", 1, api_only=False, encrypted=False)


def test_a_time_without_zone_names_nothing() -> None:
    with pytest.raises(LayoutError, match="time zone"):
        object_stem(KV_TEMPLATE, environment="qa", prefix="", at=AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    "template",
    [
        "backups/{prefix}",
        "backups/{bucket}/{timestamp}",
        "backups/{timestamp!r}",
        "backups/{timestamp:>99}",
        "backups/{timestamp",
        "/backups/{timestamp}",
        "backups//{timestamp}",
        "backups/../{timestamp}",
        "backups/./{timestamp}",
        "back ups/{timestamp}",
    ],
)
def test_an_unusable_template_is_refused(template: str) -> None:
    with pytest.raises(LayoutError):
        validate_templates([TemplateUse("qa", "bucket", (template,))])


def test_two_environments_in_one_bucket_need_their_name_in_the_templates() -> None:
    named = "{environment}/kv/{prefix}/{timestamp}"
    qa, production = TemplateUse("qa", "one", (named,)), TemplateUse("production", "one", (named, KV_TEMPLATE))
    with pytest.raises(LayoutError, match="qa and production both write to one"):
        validate_templates([qa, production])
    with pytest.raises(LayoutError, match="production and qa both write to one"):
        validate_templates([production, qa])


def test_environments_apart_or_named_are_fine() -> None:
    named = "{environment}/kv/{prefix}/{timestamp}"
    validate_templates([TemplateUse("qa", "one", (named,)), TemplateUse("production", "one", (named,))])
    validate_templates(
        [TemplateUse("qa", "one", (KV_TEMPLATE,)), TemplateUse("production", "two", (CLINICS_TEMPLATE,))]
    )
    assert stem(named) == "qa/kv/master/20261125T031500.123456Z"


# Entries

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
values = st.one_of(
    st.binary(max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode),
    st.sampled_from(
        [b"", b"\xef\xbb\xbf{}", "a\ufffdb".encode(), b"\0", b"\xff\xfe", b'\r\n\t"\\{}[]', "\u2028".encode()]
    ),
)
metadata = (
    st.none()
    | st.sampled_from(EXACT_METADATA)
    | st.dictionaries(names, st.floats(allow_nan=False) | names).map(
        lambda found: json.dumps(found).replace("Infinity", "1e999")
    )
)
expirations = st.none() | st.integers(0, 2**62)
entries = st.builds(KvEntry, names, values, expirations, metadata)


@given(entries)
def test_every_entry_comes_back_exactly(entry: KvEntry) -> None:
    assert parse_entry(encode_entry(entry).decode()) == entry


@given(st.lists(entries, unique_by=lambda entry: entry.name), st.integers(1, 50))
def test_every_array_comes_back_in_whatever_chunks_it_arrives(found: list[KvEntry], size: int) -> None:
    found.sort(key=lambda entry: entry.name.encode())
    assert list(read_entries(pieces(encode_part(found), size))) == found


@given(st.lists(entries, unique_by=lambda entry: entry.name))
def test_every_part_is_found_intact(found: list[KvEntry]) -> None:
    written = write(*sorted(found, key=lambda entry: entry.name.encode()))
    assert [problem for each in written for problem in check(each).problems] == []
    assert sum(each.part.keys for each in written) == len(found)


def test_an_entry_is_one_line_wrangler_can_read() -> None:
    assert encode_entry(KvEntry("a/b", "日本".encode(), 2_000_000_000, '{"v":1.0}')) == (
        '{"key":"a/b","value":"日本","expiration":2000000000,"metadata":{"v":1.0}}'.encode()
    )
    assert encode_part([KvEntry("a", b"1", None, None), KvEntry("b", b"2", None, None)]) == (
        b'[\n{"key":"a","value":"1"},\n{"key":"b","value":"2"}\n]\n'
    )


@pytest.mark.parametrize("value", [b"\xff", b"\xef\xbb\xbfx", "a\ufffd".encode(), b"a\0b", b"\x1f"])
def test_what_is_not_clean_text_travels_as_base64(value: bytes) -> None:
    found = json.loads(encode_entry(KvEntry("a", value, None, None)))
    assert found == {"key": "a", "value": b64encode(value).decode(), "base64": True}


@pytest.mark.parametrize("value", ["", "\r\n\t", "x\ufeff", "医院 🏥", '"\\\x7f'])
def test_clean_text_travels_as_text(value: str) -> None:
    assert json.loads(encode_entry(KvEntry("a", value.encode(), None, None))) == {"key": "a", "value": value}


@pytest.mark.parametrize("text", EXACT_METADATA)
def test_metadata_comes_back_as_the_very_text_it_was(text: str) -> None:
    assert parse_entry(encode_entry(KvEntry("a", b"", None, text)).decode()).metadata == text


@pytest.mark.parametrize("text", ["", "{", "NaN", "Infinity", ' {"a":1}', "1 2", "[" * 100_000, "{\n}", "{}\r"])
def test_metadata_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(BadEntry, match="metadata of 'a'"):
        encode_entry(KvEntry("a", b"", None, text))


def test_a_name_without_utf8_form_is_refused() -> None:
    with pytest.raises(BadEntry, match="surrogate"):
        encode_entry(KvEntry("\ud800", b"", None, None))


@pytest.mark.parametrize("text", [None, "{}", '{"a":0.1,"b":-9007199254740991,"c":[1e2,{"d":null}]}', '{"a":1.0}'])
def test_metadata_objects_javascript_understands_go_to_wrangler(text: str | None) -> None:
    assert wrangler_keeps(text)


@pytest.mark.parametrize(
    "text",
    [
        "[]", "null", "1", '"a"', '{"a":1e400}', '{"a":12345678901234567891}', '{"a":{"b":1,"b":1}}',
        '{"a":1e-99999999999999999999}', '{"a":0.1234567890123456789}',
    ],
)  # fmt: skip
def test_metadata_wrangler_refuses_or_changes_goes_to_the_api(text: str) -> None:
    plain, api_only = write(KvEntry("a", b"", None, text), KvEntry("b", b"", None, "{}"))
    assert [entry.name for entry in read_entries([plain.body])] == ["b"]
    assert [entry.metadata for entry in read_entries([api_only.body])] == [text]
    assert api_only.part.key == f"{STEM}.api-only.json"


def test_an_error_about_an_entry_does_not_quote_its_value() -> None:
    with pytest.raises(Damaged) as caught:
        parse_entry('{"key":"a","value":"s3cret","base64":true}')
    assert "s3cret" not in str(caught.value)


# Parts


def test_a_part_ends_at_ten_thousand_keys() -> None:
    writer = PartWriter()
    assert all(writer.add(entry) for entry in numbered(MAX_KEYS))
    assert not writer.add(KvEntry("z", b"", None, None))
    assert writer.keys == MAX_KEYS


def test_a_part_ends_before_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "MAX_BYTES", 1000)
    writer = PartWriter()
    taken = [writer.add(entry) is not None for entry in numbered(30)]
    assert 0 < sum(taken) < 30
    assert sum(len(each.body) for each in writer.finish(STEM, 1)) <= 1000


def test_one_entry_always_fits_into_an_empty_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "MAX_BYTES", 10)
    assert PartWriter().add(KvEntry("a", b"x" * 100, None, None))


def test_a_part_of_nothing_is_an_empty_array() -> None:
    (written,) = write()
    assert written.body == b"[\n]\n" == b"".join(encode_array([]))
    assert check(written).problems == ()


@pytest.mark.parametrize("name", ["b", "a"])
def test_entries_out_of_order_are_not_written(name: str) -> None:
    writer = PartWriter()
    writer.add(KvEntry("b", b"", None, "1"))
    with pytest.raises(BadEntry, match="sorted"):
        writer.add(KvEntry(name, b"", None, None))


def test_order_is_that_of_utf8_bytes_not_of_utf16() -> None:
    (written,) = write(KvEntry("\uffff", b"", None, None), KvEntry("\U0001f3e5", b"", None, None))
    assert [entry.name for entry in read_entries([written.body])] == ["\uffff", "\U0001f3e5"]


def test_a_part_says_what_is_in_it() -> None:
    (written,) = write(KvEntry("a", b"12345", 2_000_000_000, None), KvEntry("b", b"\xff", None, None), number=2)
    part = written.part
    assert (part.key, part.digests_key) == (f"{STEM}.part-00002.json", f"{STEM}.part-00002.json.digests")
    assert (part.keys, part.value_bytes, part.expiring, part.size) == (2, 6, 1, len(written.body))
    assert (part.sha256, part.digests_sha256) == (
        sha256(written.body).hexdigest(),
        sha256(written.digests).hexdigest(),
    )


def test_the_same_entries_make_the_same_bytes() -> None:
    assert write(*numbered(50)) == write(*numbered(50))


# Damage


@pytest.fixture(scope="module")
def part() -> DataObject:
    return write(*numbered(8), KvEntry("y", bytes(range(256)) * 8, None, None), KvEntry("z", b"{}\\" * 500, 5, "{}"))[0]


def test_an_intact_part_is_found_intact(part: DataObject) -> None:
    found = check(part)
    assert found.problems == ()
    assert (found.keys, found.size, found.sha256) == (10, len(part.body), part.part.sha256)
    assert found.digest_root == part.part.digest_root


def test_no_flipped_bit_goes_unnoticed(part: DataObject) -> None:
    for bit in random.Random(1).choices(range(len(part.body) * 8), k=2000):
        body = bytearray(part.body)
        body[bit // 8] ^= 1 << bit % 8
        assert check(part, bytes(body)).problems, bit


def test_no_truncation_goes_unnoticed(part: DataObject) -> None:
    assert len(part.body) > 4096
    assert all(check(part, part.body[:-cut]).problems for cut in range(1, 4097))


def test_no_flipped_bit_of_the_digests_goes_unnoticed(part: DataObject) -> None:
    for bit in random.Random(2).choices(range(len(part.digests) * 8), k=300):
        digests = bytearray(part.digests)
        digests[bit // 8] ^= 1 << bit % 8
        assert check(part, digests=bytes(digests)).problems, bit


def lines(*numbers: int) -> bytes:
    """A part of the first three entries, with these of its lines."""
    body = write(*numbered(3))[0].body.decode().splitlines()[1:4]
    return ("[\n" + ",\n".join(body[number].rstrip(",") for number in numbers) + "\n]\n").encode()


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 1, 2), (0, 1, 1, 2), (0, 2), (0, 1), (2, 1, 0), ()])
def test_swapped_repeated_and_lost_entries_are_noticed(order: tuple[int, ...]) -> None:
    (written,) = write(*numbered(3))
    assert check(written, lines(0, 1, 2)).problems == ()
    assert check(written, lines(*order)).problems


def test_reading_needs_memory_for_one_entry_only() -> None:
    def generated() -> Iterator[bytes]:
        # Made of pieces so that the test itself holds nothing large.
        many = (KvEntry(f"k{n:07}", b"x" * 10_000, None, None) for n in range(2_000))
        yield from encode_array(many)

    tracemalloc.start()
    try:
        size = sum(len(entry.data) for entry in read_entries(generated()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 20_000_000
    assert peak < 4_000_000


# Digests


def test_the_digests_object_lists_what_can_be_checked_by_hand() -> None:
    (written,) = write(KvEntry("a", b"1", None, None), KvEntry("b", b"2", 5, "{}"))
    first, second = read_digests(written.digests)
    assert (first.name, first.value) == (sha256(b"a").hexdigest(), sha256(b"1").hexdigest())
    assert (first.metadata, first.expiration) == (None, None)
    assert (second.metadata, second.expiration) == (sha256(b"{}").hexdigest(), 5)


# The manifest


def manifest(*found: KvEntry, prefixes: tuple[str, ...] = ("master:",)) -> Manifest:
    parts = tuple(each.part for each in write(*(found or numbered(3))))
    draft = Manifest(
        environment="qa", account_id="acc1", binding="SETTINGS", namespace_id="ns1", namespace_title="qa settings",
        bucket="ncd-clinic-media", stem=STEM, prefixes=prefixes, families=("master:",), parts=parts,
        counts=Counts(keys=sum(p.keys for p in parts), value_bytes=sum(p.value_bytes for p in parts), vanished=1),
        digest_root=parts_root(parts), started_at=AT, finished_at=AT + timedelta(minutes=1),
        retain_until=AT + timedelta(days=14), made_by="operator@example.com", code_version="0.1.0",
        audit_sequence=7, audit_hash="ab" * 32,
    )  # fmt: skip
    return with_restore_notes(draft)[0]


def test_a_manifest_knows_its_place() -> None:
    assert (manifest().key, manifest().restore_key) == (f"{STEM}.manifest.json", f"{STEM}.RESTORE.md")


def test_no_flipped_bit_of_a_manifest_gives_the_same_manifest() -> None:
    data = manifest().to_json()
    for bit in random.Random(3).choices(range(len(data) * 8), k=500):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert parse_manifest(bytes(changed)) != manifest()
        except BadManifest:
            continue


# Restoring


def test_the_recovery_steps_are_the_commands_of_plain_wrangler() -> None:
    text = restore_commands(manifest())
    assert f"npx wrangler r2 object get ncd-clinic-media/{STEM}.json --file part-00001.json --remote" in text
    assert "npx wrangler kv bulk put part-00001.json --namespace-id ns1 --remote" in text
    assert f"echo '{manifest().parts[0].sha256}  part-00001.json' | sha256sum --check" in text
    assert "api-only" not in text


def test_the_recovery_steps_say_everything_in_english_and_japanese() -> None:
    text = restore_commands(manifest(KvEntry("a", b"", 5, "1"), KvEntry("b", b"", 5, None)))
    headings = re.findall("^## .*$", text, re.MULTILINE)
    said = [block.partition("## ")[0].partition("```sh")[0] for block in text.split("```\n")]
    assert all(re.search(r" / .*[ぁ-ん]", heading) for heading in headings)
    assert [block for block in said if block.strip() and not re.search("[ぁ-ん]", block)] == []


def test_the_recovery_steps_may_name_another_namespace() -> None:
    text = restore_commands(manifest(), namespace_id="ns2")
    assert "--namespace-id ns2 --remote" in text
    assert "ns1" not in text


def test_what_wrangler_refuses_is_restored_through_the_api() -> None:
    text = restore_commands(manifest(KvEntry("a", b"", None, "1")))
    assert f"/{STEM}.api-only.json --file part-00001.api-only.json --remote" in text
    assert "--data-binary @part-00001.api-only.json" in text
    assert "/storage/kv/namespaces/ns1/bulk" in text
    assert "kv bulk put" not in text


def test_the_recovery_steps_warn_of_expirations_cloudflare_refuses() -> None:
    assert "less than 60 seconds ahead" in restore_commands(manifest(*numbered(1)))
    assert "60 seconds" not in restore_commands(manifest(KvEntry("a", b"", None, None)))


def test_the_recovery_steps_take_out_what_expires_and_change_nothing_else(tmp_path: Path) -> None:
    found = [
        KvEntry("a", b"1", 1, "{}"),
        KvEntry("b", "\u2028\r\n{".encode(), None, '{"v":1.0,"v":1e400}'),
        KvEntry("c", b"\xff", 4_000_000_000, "1"),
        KvEntry("d", b"", int(time()) + 60, None),
    ]
    script = restore_commands(manifest(*found)).partition("<<'END'\n")[2].partition("\nEND\n")[0]
    (tmp_path / "part").write_bytes(encode_part(found))
    done = subprocess.run([sys.executable, "-c", script, "part"], cwd=tmp_path, capture_output=True, check=True)
    assert list(read_entries([(tmp_path / "part").read_bytes()])) == found[1:3]
    assert re.findall("not restored: '(.)'", done.stdout.decode()) == ["a", "d"]


def test_the_recovery_steps_are_a_shell_script_that_uses_what_it_asks_for() -> None:
    text = restore_commands(manifest(KvEntry("a", b"", 5, "1"), KvEntry("b", b"", None, None)))
    script = "\n".join(block.partition("```")[0] for block in text.split("```sh\n")[1:])
    assert subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, check=True).stderr == b""
    assert set(re.findall(r"\$(\w+)", script)) == set(re.findall(r"export (\w+)=", script))


def test_a_name_wrangler_would_decode_is_fetched_by_its_exact_address() -> None:
    odd = replace(manifest(), stem="backups/kv/a%2Fb/x")
    odd = replace(odd, parts=tuple(replace(part, key="backups/kv/a%2Fb/x.json") for part in odd.parts))
    text = restore_commands(odd)
    assert "/objects/backups/kv/a%252Fb/x.json" in text
    assert "wrangler r2 object get" not in text


def test_odd_prefixes_are_quoted_for_the_shell() -> None:
    assert "--prefix 'a'\"'\"'; rm -rf ~' --remote" in restore_commands(manifest(prefixes=("a'; rm -rf ~",)))


def test_the_manifest_holds_the_digest_of_its_recovery_steps() -> None:
    sealed, notes = with_restore_notes(replace(manifest(), restore_sha256=""))
    assert sealed.restore_sha256 == sha256(notes).hexdigest()
    assert notes.decode() == restore_commands(sealed)
