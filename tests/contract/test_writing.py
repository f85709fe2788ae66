"""Bulk put, bulk delete and single put."""

import time

import httpx
import pytest

from kvops.cloudflare import ApiError, Cloudflare, KvEntry
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from tests.contract.conftest import Seed
from tests.contract.target import Target


def test_a_bulk_delete_deletes_what_it_names_and_nothing_else(
    cf: Cloudflare, kv: KVWriter, ns: str, prefix: str, seed: Seed
) -> None:
    for tail in ("a", "b", "c/../.."):
        seed(prefix + tail)
    assert kv.bulk_delete(ns, [f"{prefix}a", f"{prefix}c/../.."]) == BulkOutcome(2, [], [])
    assert [key.name for key in cf.list_keys(ns, prefix=prefix).keys] == [f"{prefix}b"]


@pytest.mark.usefixtures("furnished")
def test_the_result_of_a_bulk_delete_has_the_documented_shape(api: httpx.Client, keys: str, prefix: str) -> None:
    answer = api.post(f"{keys}/bulk/delete", json=[f"{prefix}a", f"{prefix}b"])
    assert answer.json()["result"] == {"successful_key_count": 2, "unsuccessful_keys": []}


def test_deleting_a_missing_key_succeeds(kv: KVWriter, ns: str, prefix: str) -> None:
    assert kv.bulk_delete(ns, [f"{prefix}missing"]) == BulkOutcome(1, [], [])


def test_a_deleted_key_is_gone_from_every_route(cf: Cloudflare, kv: KVWriter, ns: str, prefix: str, seed: Seed) -> None:
    name = f"{prefix}k"
    seed(name)
    kv.bulk_delete(ns, [name])
    assert cf.exact_get(ns, name) is None
    assert cf.bulk_get(ns, [name]) == {name: None}
    assert cf.list_keys(ns, prefix=prefix).keys == []


def test_one_of_two_names_that_look_alike_survives(
    cf: Cloudflare, kv: KVWriter, ns: str, prefix: str, seed: Seed
) -> None:
    for tail in ("\u30ac", "\u30ab\u3099"):
        seed(prefix + tail)
    kv.bulk_delete(ns, [f"{prefix}\u30ab\u3099"])
    assert [key.name for key in cf.list_keys(ns, prefix=prefix).keys] == [f"{prefix}\u30ac"]


def test_a_put_replaces_value_expiration_and_metadata(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    name = f"{prefix}k"
    seed(name, data=b"old", expiration=int(time.time()) + 3_600, metadata="1")
    seed(name, data=b"new")
    assert cf.exact_get(ns, name) == KvEntry(name, b"new", None, None)


def test_an_expiration_less_than_a_minute_ahead_is_refused(kv: KVWriter, ns: str, prefix: str) -> None:
    with pytest.raises(ApiError) as caught:
        kv.bulk_put(ns, [KvEntry(f"{prefix}k", b"v", int(time.time()) + 5, None)])
    assert caught.value.status == 400


def test_a_single_put_takes_bytes_and_a_time_to_live(
    api: httpx.Client, cf: Cloudflare, target: Target, keys: str, prefix: str
) -> None:
    answer = api.put(f"{keys}/values/{prefix}k", content=b"\xff\x00", params={"expiration_ttl": "600"})
    target.settle(f"{prefix}k")
    value = cf.value(target.namespace_id, f"{prefix}k")
    assert (answer.status_code, value.data) == (200, b"\xff\x00")
    assert value.expiration is not None
    assert 590 <= value.expiration - time.time() <= 601


def test_a_single_put_takes_metadata_in_a_form(
    api: httpx.Client, cf: Cloudflare, target: Target, keys: str, prefix: str
) -> None:
    form = {"value": (None, "日本\r\n\x00".encode()), "metadata": (None, b'{"a":1}')}
    assert api.put(f"{keys}/values/{prefix}k", files=form).status_code == 200
    target.settle(f"{prefix}k")
    assert cf.exact_get(target.namespace_id, f"{prefix}k") == KvEntry(
        f"{prefix}k", "日本\r\n\x00".encode(), None, '{"a":1}'
    )


@pytest.mark.hazard("B2")
@pytest.mark.parametrize("tail", ["plain", "a/b%2Fc", "\n ?#&+", "é", "e\u0301", "x/../y", "😀"])
@pytest.mark.parametrize("metadata", [None, '{"a":[1,null]}', "[1]", '"text"', "7", "true"])
def test_our_single_put_keeps_name_bytes_metadata_and_expiration(
    target: Target, prefix: str, tail: str, metadata: str | None
) -> None:
    entry = KvEntry(f"{prefix}{tail}", b"\xff\x00\r\n--", int(time.time()) + 3_600, metadata)
    with target.writer() as kv, target.reader() as cf:
        assert kv.put_value(target.namespace_id, entry) == BulkOutcome(1, [], [])
        assert cf.exact_get(target.namespace_id, entry.name) == entry


@pytest.mark.parametrize("body", ["{}", "[{}]", "not json"])
def test_a_bulk_put_that_makes_no_sense_is_refused(api: httpx.Client, keys: str, body: str) -> None:
    assert api.put(f"{keys}/bulk", content=body).status_code == 400
