"""GET …/keys: pages, prefixes, cursors, what a listed key shows."""

import time

import httpx
import pytest

from kvops.cloudflare import Cloudflare, CursorRefused, KvEntry, ListedKey
from kvops.cloudflare.writes import KVWriter
from tests.contract.conftest import Seed


@pytest.fixture
def listed(kv: KVWriter, ns: str, prefix: str) -> list[str]:
    names = [f"{prefix}{index:03d}" for index in range(25)]
    kv.bulk_put(ns, [KvEntry(name, b"v", None, None) for name in names])
    return names


def test_pages_follow_the_cursor_until_it_is_empty(cf: Cloudflare, ns: str, prefix: str, listed: list[str]) -> None:
    pages, cursor = [], None
    for _ in range(3):
        page = cf.list_keys(ns, prefix=prefix, cursor=cursor, limit=10)
        pages.append([key.name for key in page.keys])
        cursor = page.cursor
    assert pages == [listed[:10], listed[10:20], listed[20:]]
    assert cursor is None


def test_a_prefix_limits_the_listing(cf: Cloudflare, ns: str, prefix: str, listed: list[str]) -> None:
    assert [key.name for key in cf.list_keys(ns, prefix=f"{prefix}01").keys] == listed[10:20]


def test_a_cursor_that_is_none_is_refused(cf: Cloudflare, ns: str, prefix: str) -> None:
    with pytest.raises(CursorRefused):
        cf.list_keys(ns, prefix=prefix, cursor="not-a-cursor")


def test_a_prefix_that_nothing_has_gives_an_empty_last_page(cf: Cloudflare, ns: str, prefix: str) -> None:
    page = cf.list_keys(ns, prefix=prefix)
    assert (page.keys, page.cursor) == ([], None)


def test_a_prefix_may_hold_odd_characters(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    seed(f"{prefix}a b+c%20&#?/日本😀:1")
    assert len(cf.list_keys(ns, prefix=f"{prefix}a b+c%20&#?/日本😀:").keys) == 1


def test_names_come_in_the_order_of_their_bytes(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    # In UTF-16 the emoji would come before the half-width sign, in UTF-8 after it.
    names = [f"{prefix}{tail}" for tail in ("Z", "a", "é", "日", "\uffee", "😀")]
    for name in reversed(names):
        seed(name)
    assert [key.name for key in cf.list_keys(ns, prefix=prefix).keys] == names


def test_a_listed_key_shows_expiration_and_metadata(cf: Cloudflare, ns: str, prefix: str, seed: Seed) -> None:
    later = int(time.time()) + 3_600
    seed(f"{prefix}full", expiration=later, metadata='{"a":[1,"日本"]}')
    seed(f"{prefix}plain")
    assert cf.list_keys(ns, prefix=prefix).keys == [
        ListedKey(f"{prefix}full", later, '{"a":[1,"日本"]}'),
        ListedKey(f"{prefix}plain", None, None),
    ]


@pytest.mark.parametrize("limit", ["9", "1001"])
def test_a_limit_outside_10_to_1000_is_refused(api: httpx.Client, keys: str, limit: str) -> None:
    assert api.get(f"{keys}/keys", params={"limit": limit}).status_code == 400


def test_the_answer_counts_its_own_page(api: httpx.Client, keys: str, prefix: str, listed: list[str]) -> None:
    answer = api.get(f"{keys}/keys", params={"prefix": prefix, "limit": "10"}).json()
    assert answer["result_info"]["count"] == 10
    assert len(listed) > 10
