"""All that the two fakes hold, taken out as plain data and put back into others at the same addresses.

Nothing is taken where a fake was told to behave in another way, or holds more than a test of ordinary size does.
"""

import pickle
import sqlite3
import time
from dataclasses import dataclass, field
from hashlib import sha256

from tests.fakes.cloudflare import ApiCall, FakeCloudflare, Permission
from tests.fakes.cloudflare_api import Answered, FakeBucket
from tests.fakes.code import FakeCode
from tests.fakes.namespaces import Item, Stored
from tests.fakes.s3 import FakeS3

MOST = 300_000
"""Bytes of values and objects, and calls: copying more than that takes longer than making it anew."""


@dataclass(frozen=True, slots=True)
class _Cloudflare:
    address: str
    tokens: dict[str, tuple[str, Permission]]
    namespaces: dict[str, tuple[str, str, dict[str, Item]]]
    databases: dict[str, tuple[str, str, bytes]]
    buckets: dict[tuple[str, str], FakeBucket]
    code: dict[str, FakeCode]
    reads: dict[tuple[str, str], Answered]
    journal: list[ApiCall]


type _Bucket = tuple[str, str, dict[str, dict[str, object]], list[object], list[str]]


@dataclass(frozen=True, slots=True)
class Held:
    """What both hold; equal for fakes that hold the same."""

    digest: bytes
    content: bytes = field(compare=False)  # the order of what is pickled differs

    @classmethod
    def by(cls, cloudflare: FakeCloudflare, s3: FakeS3) -> "Held | None":
        """What they hold now; None where that is not all that matters."""
        if not (_ordinary(cloudflare) and s3.dates is time.time and not (s3._faults or s3._hooks)):
            return None
        found = _of_cloudflare(cloudflare), _of_bucket(s3)
        return cls(sha256(repr(found).encode()).digest(), pickle.dumps(found))

    def put_back(self, cloudflare: FakeCloudflare, s3: FakeS3) -> None:
        """Let these hold it."""
        found, (_, _, stored, journal, locks) = pickle.loads(self.content)
        _into_cloudflare(found, cloudflare)
        for name, values in stored.items():
            vars(s3)[name].clear()
            vars(s3)[name].update(values)
        s3.journal[:], s3._locks[:] = journal, locks


_STORED = ("objects", "erased", "metadata", "stored_at")


def _ordinary(fake: FakeCloudflare) -> bool:
    api = fake._api
    scripted = fake._faults or any(fake._hooks.values()) or fake.latency or api.refused_names or api.lag
    clocks = fake.quota is None and fake.dates is time.time and api.clock is time.time
    stored = [one for one in api.namespaces.values() if type(one) is Stored]
    size = sum(len(item.data) for one in stored for item in one.values.values()) + 100 * len(fake.journal)
    idle = not any(database.in_transaction for *_, database in api.databases.values())
    return not scripted and clocks and idle and len(stored) == len(api.namespaces) and size < MOST


def _of_cloudflare(fake: FakeCloudflare) -> _Cloudflare:
    api = fake._api
    return _Cloudflare(
        fake.base_url,
        fake._tokens,
        {one.id: (one.account, one.title, one.values) for one in api.namespaces.values() if isinstance(one, Stored)},
        {key: (account, name, database.serialize()) for key, (account, name, database) in api.databases.items()},
        api.buckets,
        api.code,
        api.reads,
        fake.journal,
    )


def _of_bucket(s3: FakeS3) -> _Bucket:
    return s3.endpoint, s3.bucket, {name: vars(s3)[name] for name in _STORED}, list(s3.journal), s3._locks


def _into_cloudflare(held: _Cloudflare, fake: FakeCloudflare) -> None:
    """A test may have taken a namespace, a database or a bucket from the fake: they stay the same objects."""
    api = fake._api
    fake._tokens.update(held.tokens)
    for namespace_id, (account, title, values) in held.namespaces.items():
        namespace = api.namespaces.get(namespace_id) or fake.add_namespace(account, namespace_id, title)
        for name in [item.name for item in namespace.walk("", None) if item.name not in values]:
            namespace.delete(name)
        for item in values.values():
            namespace.put(item)
    for database_id, (account, name, content) in held.databases.items():
        connection = api.databases[database_id][2] if database_id in api.databases else _connection(fake, database_id)
        connection.deserialize(content)
        api.databases[database_id] = (account, name, connection)
    for place, bucket in held.buckets.items():
        vars(api.buckets.setdefault(place, bucket)).update(vars(bucket))
    for account, code in held.code.items():
        vars(fake.code(account)).update(vars(code))
    api.reads.clear()
    api.reads.update(held.reads)
    fake.journal[:] = held.journal


def _connection(fake: FakeCloudflare, database_id: str) -> sqlite3.Connection:
    return fake.add_database("", database_id, "")
