"""Bulk delete and bulk put: one call, never repeated, and an honest outcome."""

from collections.abc import Iterator

import pytest

from kvops.cloudflare import (
    InvalidKeyName,
    KvEntry,
    RateLimited,
    TransportError,
)
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.relay import Relay
from tests.kvops.cloudflare.estate import NS, estate, reader, writer


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        for name in ("a", "b", "c"):
            fake.put(NS, name, name.encode())
        yield fake


@pytest.fixture
def kv(fake: FakeCloudflare) -> Iterator[KVWriter]:
    with writer(fake) as client:
        yield client


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeCloudflare]:
    with estate() as fake:
        yield fake


def left(fake: FakeCloudflare) -> list[str]:
    return [item.name for item in fake.namespace(NS).walk("", None)]


def test_what_was_not_deleted_everywhere_is_named(fake: FakeCloudflare, kv: KVWriter) -> None:
    fake.fault("bulk_delete", "partial", names=["b"])
    assert kv.bulk_delete(NS, ["a", "b", "c"]) == BulkOutcome(2, ["b"], [])
    assert left(fake) == ["b"]


@pytest.mark.parametrize("kind", ["names_null", "names_absent"])
def test_an_answer_without_a_list_of_failures_is_believed_if_its_count_says_all(
    fake: FakeCloudflare, kv: KVWriter, kind: str
) -> None:
    fake.fault("bulk_delete", kind)
    outcome = kv.bulk_delete(NS, ["a", "b"])
    assert (outcome.successful_count, outcome.unsuccessful, outcome.contradicts) == (2, [], False)


def test_without_a_list_of_failures_a_smaller_count_contradicts(fake: FakeCloudflare, kv: KVWriter) -> None:
    fake.fault("bulk_delete", "fewer_unnamed")
    assert kv.bulk_delete(NS, ["a", "b"]).unknown == ["a", "b"]


@pytest.mark.parametrize("kind", ["wrong_count", "unknown_names"])
def test_an_answer_that_contradicts_itself_is_unknown(fake: FakeCloudflare, kv: KVWriter, kind: str) -> None:
    fake.fault("bulk_delete", kind)
    outcome = kv.bulk_delete(NS, ["a", "b"])
    assert (outcome.successful_count, outcome.unknown, outcome.contradicts) == (0, ["a", "b"], True)
    assert "contradicts" in str(outcome.problem)


@pytest.mark.hazard("B6")
@pytest.mark.parametrize("orderly", [True, False], ids=["closed", "reset"])
@pytest.mark.parametrize("way", ["there", "back"])
def test_a_call_cut_at_any_byte_is_unknown_and_never_sent_again(fake: FakeCloudflare, way: str, orderly: bool) -> None:
    with Relay(fake.base_url) as relay, writer(fake, base_url=relay.base_url) as kv:
        kv.bulk_delete(NS, ["a", "b"])
        whole, calls = relay.carried[way], len(fake.journal)
        for cut in range(whole):
            relay.cut(way, cut, orderly=orderly)
            outcome = kv.bulk_delete(NS, ["a", "b"])
            assert (outcome.unknown, outcome.contradicts) == (["a", "b"], False)
    assert whole > 100
    assert len(fake.journal) - calls == (whole if way == "back" else 0)


@pytest.mark.parametrize(
    "kind",
    ["effect_then_error", "effect_then_html", "effect_then_reset", "effect_then_timeout"],
)
def test_a_lost_answer_is_unknown_and_never_sent_again(fake: FakeCloudflare, kind: str) -> None:
    fake.fault("bulk_delete", kind)
    with writer(fake, timeout=0.2) as kv:
        outcome = kv.bulk_delete(NS, ["a", "b"])
    assert (outcome.unknown, bool(outcome.problem)) == (["a", "b"], True)
    assert left(fake) == ["c"]
    assert len(fake.calls("bulk_delete")) == 1


@pytest.mark.parametrize("kind", ["error", "html_524", "reset"])
def test_a_failed_delete_is_not_repeated_either(fake: FakeCloudflare, kv: KVWriter, kind: str) -> None:
    fake.fault("bulk_delete", kind)
    assert kv.bulk_delete(NS, ["a"]).unknown == ["a"]
    assert len(fake.journal) == 1


def test_a_limited_delete_raises_and_is_not_repeated(fake: FakeCloudflare, kv: KVWriter) -> None:
    fake.fault("bulk_delete", "429", seconds=1)
    with pytest.raises(RateLimited) as caught:
        kv.bulk_delete(NS, ["a"])
    assert caught.value.retry_after == 1
    assert (left(fake), len(fake.journal)) == (["a", "b", "c"], 1)


def test_a_delete_that_surely_never_left_raises(fake: FakeCloudflare, kv: KVWriter) -> None:
    fake.stop()
    with pytest.raises(TransportError):
        kv.bulk_delete(NS, ["a"])
    fake.start()


@pytest.mark.parametrize("names", [[], ["a", "a"], [str(n) for n in range(10_001)]])
def test_none_too_many_or_doubled_names_are_refused(fake: FakeCloudflare, kv: KVWriter, names: list[str]) -> None:
    with pytest.raises(ValueError, match="bulk call"):
        kv.bulk_delete(NS, names)
    assert fake.journal == []


ENTRIES = pytest.mark.parametrize(
    "entry",
    [
        KvEntry("plain", b"text", None, None),
        KvEntry("binary", b"\xff\x00\xfe", 4_000_000_000, None),
        KvEntry("bom", b"\xef\xbb\xbftext", None, '{"b":1.0,"a":1e400,"b":2}'),
        KvEntry("empty", b"", None, '"scalar"'),
        KvEntry("nul \u2028 😀/..?#%", "日本語\x00".encode(), None, "[1,null]"),
    ],
    ids=lambda entry: entry.name[:6],
)


@ENTRIES
def test_what_is_put_is_read_back_exactly(fake: FakeCloudflare, kv: KVWriter, entry: KvEntry) -> None:
    assert kv.bulk_put(NS, [entry]) == BulkOutcome(1, [], [])
    with reader(fake) as cf:
        assert cf.exact_get(NS, entry.name) == entry


@pytest.mark.hazard("B1", "B2")
@pytest.mark.parametrize("name", ["", ".", "..", "x" * 513, "\ud800"])
def test_a_name_that_could_become_another_call_is_never_put(fake: FakeCloudflare, kv: KVWriter, name: str) -> None:
    with pytest.raises(InvalidKeyName):
        kv.put_value(NS, KvEntry(name, b"v", None, None))
    assert fake.journal == []


@pytest.mark.parametrize("kind", ["effect_then_error", "effect_then_reset", "effect_then_html"])
def test_a_lost_answer_to_a_single_put_is_unknown(fake: FakeCloudflare, kv: KVWriter, kind: str) -> None:
    fake.fault("put_value", kind)
    assert kv.put_value(NS, KvEntry("a", b"new", None, None)).unknown == ["a"]
    assert len(fake.journal) == 1


def test_control_characters_do_not_make_a_call_six_times_as_long(fake: FakeCloudflare, kv: KVWriter) -> None:
    sent: list[int] = []
    fake.hook("bulk_put", lambda request: sent.append(len(request.body)))
    kv.bulk_put(NS, [KvEntry("k", b"\x00" * 30_000, None, None)])
    assert sent[0] < 41_000


def test_metadata_that_is_not_json_is_not_sent(fake: FakeCloudflare, kv: KVWriter) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        kv.bulk_put(NS, [KvEntry("k", b"v", None, '1},{"key":"other"')])
    assert fake.journal == []


def test_a_put_is_not_repeated(fake: FakeCloudflare, kv: KVWriter) -> None:
    fake.fault("bulk_put", "effect_then_reset")
    assert kv.bulk_put(NS, [KvEntry("k", b"v", None, None)]).unknown == ["k"]
    assert len(fake.journal) == 1


def test_the_client_has_one_call_that_deletes_and_two_that_write(shared: FakeCloudflare) -> None:
    with writer(shared) as kv:
        calls = {name for name in dir(kv) if not name.startswith("_") and callable(getattr(kv, name))}
    assert calls == {"bulk_delete", "bulk_put", "put_value", "time", "close"}
