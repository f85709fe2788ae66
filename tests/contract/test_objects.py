"""R2: puts that never overwrite, locks, listings, and unfinished uploads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from backups.bucket import lock_rules
from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store
from backups.bucket.store import ObjectConflict, ObjectLocked, ObjectMissing
from kvops.cloudflare import Cloudflare
from tests.contract.target import Target

ONE, OTHER = b'{"kvops": "contract"}', b'{"kvops": "other"}'


@pytest.fixture
def store(target: Target) -> Iterator[R2Store]:
    """Our client of the bucket."""
    store = target.store()
    yield store
    store.close()


@pytest.fixture
def folder() -> str:
    """A folder that is this test's alone."""
    return f"contract/{uuid4().hex[:12]}/"


@pytest.fixture
def r2(target: Target) -> None:
    """Only what R2 does, and the fake after it."""
    if not target.is_r2:
        pytest.skip("wrangler's local R2 lists no uploads, enforces no lock and tells no time")


def test_an_object_is_read_back_with_its_size(store: R2Store, folder: str) -> None:
    assert store.put(f"{folder}日本 +&?.json", ONE).size == len(ONE)
    assert store.get(f"{folder}日本 +&?.json") == ONE


def test_a_put_over_an_object_is_refused_and_the_first_bytes_stay(store: R2Store, folder: str) -> None:
    store.put(f"{folder}one.json", ONE)
    with pytest.raises(ObjectConflict):
        store.put(f"{folder}one.json", OTHER)
    assert store.get(f"{folder}one.json") == ONE


def test_the_same_put_again_finds_the_object_as_it_is(store: R2Store, folder: str) -> None:
    assert store.put(f"{folder}one.json", ONE) == store.put(f"{folder}one.json", ONE)


def test_a_missing_object_is_missing(store: R2Store, folder: str) -> None:
    with pytest.raises(ObjectMissing):
        store.get(f"{folder}missing.json")
    assert store.head(f"{folder}missing.json") is None


def test_a_listing_is_in_byte_order_and_goes_on_after_a_name(store: R2Store, folder: str) -> None:
    keys = [f"{folder}{number} 日本.json" for number in range(5)]
    for key in reversed(keys):
        store.put(key, ONE)
    first = store.page(folder, limit=2)
    rest = store.page(folder, after=keys[1])
    assert [one.key for one in first.objects] + [one.key for one in rest.objects] == keys
    assert (first.more, rest.more) == (True, False)


@pytest.mark.usefixtures("r2")
def test_an_upload_in_parts_is_listed_until_it_is_aborted(store: R2Store, folder: str) -> None:
    key = f"{folder}upload.json"
    upload = store._client.create_multipart_upload(Bucket=store.bucket, Key=key)["UploadId"]
    assert [(one.key, one.upload_id) for one in store.uploads(folder)] == [(key, upload)]
    store._client.abort_multipart_upload(Bucket=store.bucket, Key=key, UploadId=upload)
    assert store.uploads(folder) == []


@pytest.mark.usefixtures("r2")
def test_a_locked_object_is_neither_deleted_nor_overwritten(
    cf: Cloudflare, target: Target, store: R2Store, folder: str
) -> None:
    rules = cf.bucket_locks(target.bucket)
    key = f"{rules[0].prefix if rules else ''}{folder}locked.json"
    locked = lock_rules.locked_until_by(rules, key, datetime.now(UTC))
    if not locked.forever and locked.until is None:
        pytest.skip("the bucket has no lock")
    store.put(key, ONE)
    with pytest.raises(ObjectLocked):
        erase_permanently(store, key)
    with pytest.raises(ObjectConflict):
        store.put(key, OTHER)
    assert store.get(key) == ONE


@pytest.mark.usefixtures("r2")
def test_r2_tells_the_time(store: R2Store, folder: str) -> None:
    store.head(f"{folder}missing.json")
    assert store.time() is not None
