"""Reading KV and D1 through the real client."""

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, strategies as st

from kvops.cloudflare import (
    BULK_GET_LIMIT,
    ApiError,
    Cloudflare,
    CursorRefused,
    InvalidKeyName,
    KeyNotFound,
    KeyPage,
    KvEntry,
    NotFound,
    StatementRefused,
    TooLarge,
    UnexpectedAnswer,
)
from kvops.cloudflare._answers import received
from kvops.cloudflare._d1 import _read_rows
from kvops.cloudflare._json import as_object, parse_json
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.http import Request
from tests.kvops.cloudflare.estate import ACCOUNT, DB, NS, estate, reader


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        yield fake


@pytest.fixture
def cf(fake: FakeCloudflare) -> Iterator[Cloudflare]:
    with reader(fake) as client:
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        yield fake


class Chunks(httpx.SyncByteStream):
    """A body that arrives in pieces."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


def pages_of(cf: Cloudflare, namespace: str, prefix: str = "") -> list[KeyPage]:
    pages = [cf.list_keys(namespace, prefix=prefix)]
    while pages[-1].cursor:
        pages.append(cf.list_keys(namespace, prefix=prefix, cursor=pages[-1].cursor))
    return pages


def test_a_refused_cursor_says_start_again(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.add_derived(ACCOUNT, "big", "big", count=1_500)
    fake.fault("keys", "cursor_refused", nth=2)
    with pytest.raises(CursorRefused, match="start again"):
        pages_of(cf, "big")


def test_names_without_a_utf8_form_are_kept_and_counted(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "broken\ud800", b"v")
    page = cf.list_keys(NS)
    assert (page.keys[0].name, page.unencodable) == ("broken\ud800", 1)


def test_such_a_name_is_refused_as_a_prefix(cf: Cloudflare) -> None:
    with pytest.raises(InvalidKeyName):
        cf.list_keys(NS, prefix="\ud800")


@pytest.mark.parametrize(
    "metadata",
    [
        '{"b":1,"a":1.0,"b":2}',
        '{"n":1e400,"big":123456789012345678901234567890,"minus":-0.0}',
        '"é😀\\u0000"',
        '[1,1.0,1.00,null,true,{"":""}]',
        "0",
        "false",
        '""',
        '"\\ud800"',
    ],
)
def test_metadata_comes_back_as_it_was_spelled(fake: FakeCloudflare, cf: Cloudflare, metadata: str) -> None:
    fake.put(NS, "k", b"v", metadata=metadata)
    entry = cf.bulk_get(NS, ["k"])["k"]
    assert entry is not None
    assert {entry.metadata, cf.metadata(NS, "k"), cf.list_keys(NS).keys[0].metadata} == {metadata}


def test_an_expired_key_is_gone(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "k", b"v", expiration=1_000)
    assert cf.exact_get(NS, "k") is None
    assert cf.bulk_get(NS, ["k"]) == {"k": None}


def test_a_value_that_really_holds_the_replacement_character_survives(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "k", "\ufffd".encode())
    assert cf.bulk_get(NS, ["k"]) == {"k": KvEntry("k", "\ufffd".encode(), None, None)}


def test_a_damaged_value_that_vanished_meanwhile_is_missing(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "k", b"\xff")

    def vanish(request: Request) -> None:
        fake.namespace(NS).delete("k")

    fake.hook("value", vanish)
    assert cf.bulk_get(NS, ["k"]) == {"k": None}


def test_too_much_for_one_answer_is_halved(fake: FakeCloudflare, cf: Cloudflare) -> None:
    for index in range(4):
        fake.put(NS, f"big{index}", b"x" * 10_000_000)
    entries = cf.bulk_get(NS, [f"big{index}" for index in range(4)])
    assert all(entry and len(entry.data) == 10_000_000 for entry in entries.values())
    assert [call.status for call in fake.calls("bulk_get")] == [413, 200, 200]


def test_a_single_value_too_large_for_bulk_is_read_singly(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "k", b"v", metadata=[1])
    fake.fault("bulk_get", "too_large")
    assert cf.bulk_get(NS, ["k"]) == {"k": KvEntry("k", b"v", None, "[1]")}


@pytest.mark.hazard("B13")
def test_an_answer_that_is_much_longer_than_its_values_is_not_taken_but_read_singly(
    fake: FakeCloudflare, cf: Cloudflare
) -> None:
    data = b"\x01" * (6 * 1024 * 1024)  # six bytes of JSON for each
    fake.put(NS, "binary", data)
    fake.put(NS, "text", b"text")
    found = cf.bulk_get(NS, ["binary", "text"])
    assert {name: entry and entry.data for name, entry in found.items()} == {"binary": data, "text": b"text"}
    assert [len(fake.calls(route)) for route in ("bulk_get", "value")] == [3, 1]


@pytest.mark.parametrize(("size", "taken"), [(10, True), (11, False)])
def test_an_answer_is_taken_up_to_exactly_the_limit(size: int, taken: bool) -> None:
    chunks = [b"x" * 5, b"x" * (size - 5)]
    answer = httpx.Response(
        200, headers={"cf-ray": "r"}, stream=Chunks(chunks), request=httpx.Request("GET", "http://a")
    )
    if taken:
        assert received(answer, 10).content == b"x" * size
    else:
        with pytest.raises(TooLarge, match=r"longer than 10 bytes \(request id r\)"):
            received(answer, 10)
    assert answer.is_closed


def test_more_than_a_hundred_names_are_refused(cf: Cloudflare) -> None:
    with pytest.raises(ValueError, match="at most 100"):
        cf.bulk_get(NS, [str(n) for n in range(BULK_GET_LIMIT + 1)])


def test_a_missing_key_is_told_from_a_missing_namespace(cf: Cloudflare) -> None:
    assert cf.exact_get(NS, "absent") is None
    with pytest.raises(NotFound) as caught:
        cf.exact_get("0" * 32, "absent")
    assert not isinstance(caught.value, KeyNotFound)


def test_namespaces_are_read_over_all_pages(fake: FakeCloudflare, cf: Cloudflare) -> None:
    for index in range(205):
        fake.add_namespace(ACCOUNT, f"ns{index}", f"title {index}")
    assert len({namespace.id for namespace in cf.namespaces()}) == 206


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "select 1; DROP TABLE t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "REPLACE INTO t VALUES (1)",
        "SELECT 1 -- '\n; DELETE FROM t",
        "SELECT 1 /* ' */ ; DELETE FROM t -- '",
        "PRAGMA writable_schema = 1",
        "SELECTED",
        "",
    ],
)
def test_sql_that_could_write_is_not_sent(fake: FakeCloudflare, cf: Cloudflare, sql: str) -> None:
    with pytest.raises(StatementRefused):
        cf.query(DB, sql)
    assert fake.journal == []


def test_forbidden_words_inside_quotes_are_only_words(cf: Cloudflare) -> None:
    found = cf.query(DB, """SELECT replace('a;--b', ';', '') AS "delete" , 'it''s; drop' AS x""")
    assert found.rows == [{"delete": "a--b", "x": "it's; drop"}]


def test_a_read_token_cannot_write_to_d1_even_past_our_check(fake: FakeCloudflare) -> None:
    fake.add_database(ACCOUNT, "db", "m", "CREATE TABLE t (a)")
    with reader(fake) as cf, pytest.raises(ApiError, match="7500"):
        cf._transport.json("POST", "/d1/database/db/query", body=b'{"sql":"DELETE FROM t"}', read=lambda e: e)


def test_a_page_with_names_outside_the_prefix_is_refused(fake: FakeCloudflare, cf: Cloudflare) -> None:
    fake.put(NS, "settings", b"")
    # The server forgets the prefix, as the documented trap does when only the cursor is sent.
    fake.hook("keys", lambda request: object.__setattr__(request, "query", "limit=1000"))
    with pytest.raises(UnexpectedAnswer, match="outside the prefix"):
        cf.list_keys(NS, prefix="master:")


text = st.text(min_size=1, max_size=60)
odd = st.sampled_from([".", "..", "...", "%2e%2e", "a/../../b", "/", "//", "?x=1", "#", "a b+c%20", "\x00\x1f", "\\"])


@given(st.lists(text | odd, min_size=1, max_size=5, unique=True))
def test_any_name_reads_its_own_key_and_no_other(shared: FakeCloudflare, chosen: list[str]) -> None:
    values = {name: name.encode("utf-8", "replace") for name in chosen if name not in (".", "..")}
    for name, value in values.items():
        shared.put(NS, name, value)
    with reader(shared) as cf:
        entries = [cf.exact_get(NS, name) for name in values]
    assert entries == [KvEntry(name, value, None, None) for name, value in values.items()]
    assert shared.journal_routes() <= {("GET", "value"), ("GET", "metadata")}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(("kinds", "c0", "c1")),
                st.sampled_from(
                    ('"x"', '"\\ud800"', "null", "1", "-0.0", "1e400", "9007199254740993", "[1,255]", "[]")
                ),
            ),
            max_size=4,
        ),
        max_size=4,
    )
)
def test_a_page_of_d1_reads_as_with_every_member_of_its_rows(rows: list[list[tuple[str, str]]]) -> None:
    texts = ("{" + ",".join(f'"{name}":{value}' for name, value in row) + "}" for row in rows)
    answer = f'{{"result":[{{"success":true,"results":[{",".join(texts)}],"meta":{{"rows_read":3}}}}]}}'
    last, every = (_read_rows(as_object(parse_json(answer, last_wins=way))) for way in (True, False))
    assert last == every
    assert [type(cell) for row in last.rows for cell in row.values()] == [
        type(cell) for row in every.rows for cell in row.values()
    ]
