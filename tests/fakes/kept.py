"""What is in the fakes, as bytes, and put back into them or into others that are empty."""

import pickle
import sqlite3
import time
from typing import Any

from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.namespaces import Stored
from tests.fakes.s3 import FakeS3


def state_of(cloudflare: FakeCloudflare, s3: FakeS3) -> bytes | None:
    """All that both hold; None where a test lets them do anything but answer as they are."""
    api = cloudflare._api
    plays = [*cloudflare._faults, *filter(None, cloudflare._hooks.values()), *s3._faults, *s3._hooks]
    clocks = (cloudflare.dates, api.clock, s3.dates)
    lags = cloudflare.latency or api.lag or cloudflare.quota
    if plays or lags or any(one is not time.time for one in clocks):
        return None
    if any(type(one) is not Stored for one in api.namespaces.values()):
        return None
    databases = {key: (*named, data.serialize()) for key, (*named, data) in api.databases.items()}
    theirs = (cloudflare.journal, cloudflare._tokens, api.reads, api.refused_names)
    found = (theirs, (api.namespaces, api.buckets, api.code), databases, _parts(s3), s3._started_at)
    return pickle.dumps(found)


def put_back(cloudflare: FakeCloudflare, s3: FakeS3, state: bytes) -> None:
    """Let both hold this again, in the same objects, which a test may have at hand."""
    api = cloudflare._api
    theirs, named, databases, parts, s3._started_at = pickle.loads(state)
    for old, new in zip((cloudflare.journal, cloudflare._tokens, api.reads, api.refused_names), theirs, strict=True):
        _refill(old, new)
    holders: tuple[Any, ...] = (api.namespaces, api.buckets, api.code)
    for held, new in zip(holders, named, strict=True):
        known = {key: held[key] for key in held.keys() & new.keys()}
        for key, one in known.items():
            one.__dict__.update(new[key].__dict__)
        _refill(held, new | known)
    for key, (account, name, data) in databases.items():
        if key not in api.databases:
            api.databases[key] = (account, name, sqlite3.connect(":memory:", check_same_thread=False))
        api.databases[key][2].deserialize(data)
    for old, new in zip(_parts(s3), parts, strict=True):
        _refill(old, new)


def _parts(s3: FakeS3) -> tuple[Any, ...]:
    return (s3.objects, s3.erased, s3.metadata, s3.stored_at, s3.uploads, s3.journal, s3._locks)


def _refill(old: Any, new: Any) -> None:
    old.clear()
    old.extend(new) if isinstance(old, list) else old.update(new)
