"""R2Store, the real client, against a small S3 over HTTP."""

import logging
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from botocore.exceptions import ClientError

from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store, _session
from backups.bucket.store import (
    AccessRefused,
    ObjectConflict,
    StoreError,
    StoreUnavailable,
)
from tests.fakes.s3 import FakeS3

type Open = Callable[..., R2Store]


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with FakeS3("backups") as fake:
        yield fake


@pytest.fixture
def connect(s3: FakeS3) -> Iterator[Open]:
    opened: list[R2Store] = []

    def connect(bucket: str = "backups", secret: str = s3.secret_access_key, attempts: int = 1) -> R2Store:
        store = R2Store(
            endpoint=s3.endpoint,
            bucket=bucket,
            access_key_id=s3.access_key_id,
            secret_access_key=secret,
            allowed_hosts=("127.0.0.1",),
            read_timeout=5,
            attempts=attempts,
        )
        opened.append(store)
        return store

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Open) -> R2Store:
    return connect()


KEY = "backups/kv/a%2Fb:日本 +&?/20261125T031500.123456Z.json"


def test_a_put_carries_its_digests_and_never_overwrites(s3: FakeS3, store: R2Store) -> None:
    store.put("a", b"one")
    headers = s3.calls("PUT")[0].headers
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-meta-sha256"] == headers["x-amz-content-sha256"] == sha256(b"one").hexdigest()
    assert "content-md5" in headers
    assert not {"x-amz-sdk-checksum-algorithm", "transfer-encoding", "expect"} & headers.keys()


def test_a_conflict_is_judged_by_the_stored_bytes_not_by_their_metadata(s3: FakeS3, store: R2Store) -> None:
    store.put("a", b"one")
    s3.corrupt("a", 5)
    with pytest.raises(ObjectConflict):
        store.put("a", b"one")


def test_a_torn_put_stores_nothing_and_can_be_repeated(s3: FakeS3, store: R2Store) -> None:
    s3.fault("torn", "PUT", after=1000)
    with pytest.raises(StoreUnavailable):
        store.put("a", b"x" * 5_000_000)
    assert s3.objects == {}
    assert store.put("a", b"x" * 5_000_000).size == 5_000_000


def test_a_put_whose_answer_was_lost_can_be_repeated(s3: FakeS3, store: R2Store) -> None:
    s3.fault("lost_answer", "PUT")
    with pytest.raises(StoreUnavailable):
        store.put("a", b"one")
    assert s3.objects == {"a": b"one"}
    assert store.put("a", b"one").size == 3


def test_an_answer_that_ends_early_is_not_an_object(s3: FakeS3, store: R2Store) -> None:
    s3.objects["a"] = b"x" * 200_000
    s3.fault("torn", "GET", after=150_000)
    with pytest.raises(StoreUnavailable):
        store.get("a")


def test_an_object_is_read_in_small_chunks(s3: FakeS3, store: R2Store) -> None:
    s3.objects["a"] = b"x" * 200_000
    sizes = [len(chunk) for chunk in store.open("a")]
    assert sum(sizes) == 200_000
    assert max(sizes) <= 64 * 1024


def test_reading_may_stop_halfway(s3: FakeS3, store: R2Store) -> None:
    s3.objects["a"] = b"x" * 10_000_000
    chunks = store.open("a")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert store.head("a")


def test_a_missing_bucket_is_not_taken_for_a_missing_object(connect: Open) -> None:
    with pytest.raises(StoreError, match="no such bucket") as caught:
        connect(bucket="other").get("a")
    assert type(caught.value) is StoreError


def test_a_page_may_be_shorter_than_asked_for_and_not_the_last(s3: FakeS3, store: R2Store) -> None:
    s3.page_size = 1
    s3.objects = dict.fromkeys(("a", "b"), b"x")
    page = store.page("")
    assert ([item.key for item in page.objects], page.more) == (["a"], True)


def test_an_empty_page_is_the_end(store: R2Store) -> None:
    assert store.page("none/") == ([], False)


@pytest.mark.parametrize(
    ("answer", "error"), [([], StoreUnavailable), (["b", "a"], StoreError), (["a", "a"], StoreError)]
)
def test_a_listing_that_does_not_move_on_is_noticed(
    store: R2Store, monkeypatch: pytest.MonkeyPatch, answer: list[str], error: type[Exception]
) -> None:
    items = [{"Key": key, "Size": 1, "ETag": '"e"', "LastModified": None} for key in answer]
    found = {"IsTruncated": True, "Contents": items}
    monkeypatch.setattr(store._client, "list_objects_v2", lambda **_: found)
    with pytest.raises(error, match=r"does not move on|order of its names"):
        store.page("")


def test_a_listing_says_what_head_says(store: R2Store) -> None:
    info = store.put("a", b"one")
    (listed,) = store.page("").objects
    assert (listed.key, listed.size, listed.etag) == (info.key, info.size, info.etag)


def test_behind_a_lock_putting_the_same_bytes_again_is_fine(s3: FakeS3, store: R2Store) -> None:
    s3.keep("backups/")
    first = store.put(KEY, b"one")
    assert store.put(KEY, b"one") == first
    assert [call.status for call in s3.calls("PUT")] == [200, 403]


def test_deleting_what_is_not_there_is_fine(store: R2Store) -> None:
    erase_permanently(store, "a")
    assert store.head("a") is None


def test_a_wrong_secret_is_refused_and_not_shown(connect: Open) -> None:
    with pytest.raises(AccessRefused, match="check the R2 credentials") as caught:
        connect(secret="wrong-secret").put("a", b"one")
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize(("kind", "error"), [("403", AccessRefused), ("503", StoreUnavailable)])
def test_a_refusal_is_told_apart_from_an_outage(s3: FakeS3, store: R2Store, kind: str, error: type[Exception]) -> None:
    s3.fault("403" if kind == "403" else "503", "DELETE")
    with pytest.raises(error):
        erase_permanently(store, "a")


def test_a_store_that_is_not_there_is_unavailable(s3: FakeS3) -> None:
    with FakeS3() as other:
        endpoint = other.endpoint
    store = R2Store(
        endpoint=endpoint,
        bucket="b",
        access_key_id="a",
        secret_access_key="s",
        allowed_hosts=["127.0.0.1"],
        attempts=1,
    )
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        store.head("a")


def test_a_name_r2_cannot_take_is_refused_before_it_is_sent(s3: FakeS3, store: R2Store) -> None:
    with pytest.raises(StoreError, match="cannot be sent"):
        store.put("", b"one")
    assert s3.journal == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://acc.r2.cloudflarestorage.com",
        "https://evil.example",
        "https://user:pw@acc.r2.cloudflarestorage.com",
        "https://acc.r2.cloudflarestorage.com?x=1",
        "ftp://acc.r2.cloudflarestorage.com",
        "http://127.0.0.1.evil.example",
        "",
    ],
)
def test_an_endpoint_that_may_not_be_called_is_refused(endpoint: str) -> None:
    with pytest.raises(AccessRefused) as caught:
        R2Store(
            endpoint=endpoint,
            bucket="b",
            access_key_id="a",
            secret_access_key="s",
            allowed_hosts=("acc.r2.cloudflarestorage.com", "127.0.0.1.evil.example"),
        )
    assert "pw" not in str(caught.value)


def test_the_host_is_looked_at_again_right_before_sending(s3: FakeS3) -> None:
    allowed = {"127.0.0.1"}
    store = R2Store(
        endpoint=s3.endpoint, bucket="backups", access_key_id="a", secret_access_key="s", allowed_hosts=allowed
    )
    allowed.clear()
    with pytest.raises(AccessRefused):
        store.head("a")
    assert s3.journal == []


def test_proxies_and_profiles_of_the_environment_are_ignored(
    s3: FakeS3, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    _session.cache_clear()
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    connect().put("a", b"one")
    assert s3.objects == {"a": b"one"}


def test_the_libraries_below_log_no_object_names(store: R2Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        store.put("secret-name", b"one")
    assert "secret-name" not in caplog.text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"ContentMD5": "A" * 22 + "=="}, "BadDigest"),
        ({"ChecksumSHA256": "A" * 43 + "="}, "BadDigest"),
        ({"ContentEncoding": "aws-chunked"}, "NotImplemented"),
    ],
)
def test_the_fake_refuses_wrong_digests_and_chunked_bodies(
    s3: FakeS3, store: R2Store, said: dict[str, str], code: str
) -> None:
    with pytest.raises(ClientError, match=code):
        store._client.put_object(Bucket="backups", Key="a", Body=b"one", **said)  # type: ignore[arg-type]
    assert s3.objects == {}


def test_the_fake_answers_a_range_with_those_bytes(s3: FakeS3, store: R2Store) -> None:
    s3.objects["a"] = b"hello"
    found = store._client.get_object(Bucket="backups", Key="a", Range="bytes=1-2")
    assert found["Body"].read() == b"el"
