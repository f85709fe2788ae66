"""Values, metadata and bulk get: byte for byte, for every name."""

import json
import time

import httpx
import pytest

from kvops.cloudflare import Cloudflare, KeyNotFound, KvEntry, NameRefused
from kvops.cloudflare.writes import KVWriter
from tests.contract.conftest import Seed

ODD = [
    "/",
    "//a//",
    "%",
    "%2F%2e%2e",
    "?a=b",
    "#",
    "&",
    "+",
    " ",
    "a b",
    "..",
    "/../..",
    "\\",
    "'\"<>",
    "😀👩‍👩‍👧",
    "日本語",
    "__proto__",
    "constructor",
    "\u30ac",
    "\u30ab\u3099",
]


@pytest.mark.parametrize("tail", ODD)
def test_an_odd_name_reads_its_own_key_by_every_route(
    cf: Cloudflare, ns: str, prefix: str, seed: Seed, tail: str
) -> None:
    name = prefix + tail
    seed(name, data=tail.encode(), metadata=json.dumps(tail))
    entry = KvEntry(name, tail.encode(), None, json.dumps(tail, ensure_ascii=False))
    assert cf.exact_get(ns, name) == entry
    assert cf.bulk_get(ns, [name]) == {name: entry}
    assert [key.name for key in cf.list_keys(ns, prefix=name).keys] == [name]


@pytest.mark.parametrize("tail", ["...", "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --", "\x1f"])
def test_a_name_like_an_attack_is_read_or_its_path_is_refused_with_a_page(
    cf: Cloudflare, ns: str, prefix: str, seed: Seed, tail: str
) -> None:
    seed(prefix + tail)
    try:
        assert cf.value(ns, prefix + tail).data == b"v"
    except NameRefused:
        assert cf.bulk_get(ns, [prefix + tail])[prefix + tail] == KvEntry(prefix + tail, b"v", None, None)


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString"])
def test_a_name_that_every_javascript_object_has_is_missing_like_any_other(cf: Cloudflare, ns: str, name: str) -> None:
    assert cf.bulk_get(ns, [name]) == {name: None}


def test_two_spellings_that_look_alike_are_two_keys(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}\u30ac", data=b"composed")
    seed(f"{prefix}\u30ab\u3099", data=b"decomposed")
    assert cf.value(ns, f"{prefix}\u30ac").data == b"composed"
    assert cf.value(ns, f"{prefix}\u30ab\u3099").data == b"decomposed"


def test_a_name_may_have_512_bytes(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    name = prefix + "x" * (512 - len(prefix))
    seed(name)
    assert cf.value(ns, name).data == b"v"
    assert cf.bulk_get(ns, [name])[name] == KvEntry(name, b"v", None, None)


@pytest.mark.parametrize(
    "data",
    [b"", bytes(range(256)), b"\xef\xbb\xbftext", b"\x00", "日本語\n".encode(), b"\xed\xa0\x80", b"x" * 1_000_000],
    ids=["empty", "all bytes", "byte order mark", "nul", "text", "surrogate", "megabyte"],
)
def test_a_value_comes_back_byte_for_byte(cf: Cloudflare, ns: str, prefix: str, seed: Seed, data: bytes) -> None:
    seed(f"{prefix}k", data=data)
    assert cf.value(ns, f"{prefix}k").data == data


def test_a_damaged_value_of_a_bulk_get_is_noticed(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}k", data=b"\xff\xfe\x00", metadata="1")
    assert cf.bulk_get(ns, [f"{prefix}k"]) == {f"{prefix}k": KvEntry(f"{prefix}k", b"\xff\xfe\x00", None, "1")}


def test_a_byte_order_mark_is_in_a_bulk_get_or_is_dropped(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    name = f"{prefix}k"
    seed(name, data=b"\xef\xbb\xbftext")
    found = cf.bulk_get(ns, [name])[name]
    assert found is not None
    assert found.data in {b"\xef\xbb\xbftext", b"text"}


def test_a_bulk_get_of_over_25_mib_has_all_or_is_too_large(
    api: httpx.Client, keys: str, kv: KVWriter, ns: str, prefix: str
) -> None:
    names, size = [f"{prefix}1", f"{prefix}2"], 13 * 1024 * 1024
    for name in names:
        kv.put_value(ns, KvEntry(name, b"x" * size, None, None))
    answer = api.post(f"{keys}/bulk/get", json={"keys": names}, timeout=300.0)
    assert answer.status_code == 413 or [len(answer.json()["result"]["values"][name]) for name in names] == [size] * 2


@pytest.mark.parametrize("metadata", ['{"b":1,"a":[true,null]}', '"text"', '""', "12", "1.5", "true", "false", "[]"])
def test_metadata_of_every_type_comes_with_every_route(
    cf: Cloudflare, ns: str, prefix: str, seed: Seed, metadata: str
) -> None:
    name = f"{prefix}k"
    seed(name, metadata=metadata)
    entry = cf.bulk_get(ns, [name])[name]
    assert entry is not None
    assert [cf.metadata(ns, name), entry.metadata, cf.list_keys(ns, prefix=name).keys[0].metadata] == [metadata] * 3


def test_a_key_without_metadata_has_none(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}k")
    assert cf.metadata(ns, f"{prefix}k") is None


def test_expiration_comes_with_single_and_bulk_reads(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    name, later = f"{prefix}k", int(time.time()) + 3_600
    seed(name, expiration=later)
    entry = cf.bulk_get(ns, [name])[name]
    assert entry is not None
    assert (entry.expiration, cf.value(ns, name).expiration) == (later, later)


def test_a_missing_key_is_null_in_a_bulk_get(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}there")
    entries = cf.bulk_get(ns, [f"{prefix}there", f"{prefix}missing"])
    assert entries == {f"{prefix}there": KvEntry(f"{prefix}there", b"v", None, None), f"{prefix}missing": None}


def test_a_missing_key_is_404_with_its_code(cf: Cloudflare, ns: str, prefix: str) -> None:
    for read in (cf.value, cf.metadata):
        with pytest.raises(KeyNotFound, match="10009"):
            read(ns, f"{prefix}missing")


def test_bulk_get_takes_a_hundred_names(cf: Cloudflare, ns: str, prefix: str) -> None:
    assert len(cf.bulk_get(ns, [f"{prefix}{index}" for index in range(100)])) == 100
    assert cf.calls == 1


@pytest.mark.parametrize("count", [0, 101])
def test_bulk_get_refuses_none_and_more_than_a_hundred(api: httpx.Client, keys: str, count: int) -> None:
    assert api.post(f"{keys}/bulk/get", json={"keys": [str(n) for n in range(count)]}).status_code == 400


def test_bulk_get_without_metadata_gives_the_bare_values(api: httpx.Client, keys: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}k", metadata="1")
    answer = api.post(f"{keys}/bulk/get", json={"keys": [f"{prefix}k", f"{prefix}missing"]})
    assert answer.json()["result"]["values"] == {f"{prefix}k": "v", f"{prefix}missing": None}
