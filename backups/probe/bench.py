"""The clients of a probe, which also show what the product's own clients do not tell."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from backups.bucket.r2 import R2Store
from backups.probe.allowance import Allowance
from backups.probe.target import Target
from kvops import timing
from kvops.cloudflare import Cloudflare, KvEntry
from kvops.cloudflare.writes import KVWriter
from kvops.connections import clients
from kvops.connections.budget import SharedBudget
from kvops.connections.quota import QuotaMeter
from kvops.refusals import Sentence

PREFIX = "kvops-probe-"
WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Parts of 60: after these parts of KV's propagation time a behaviour that may lag is looked at again."""


class ProbeMeter(QuotaMeter):
    """Counts operations for the daily quota, and notes no answers."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note nothing."""

    def refused(self, route: str, status: int) -> None:
        """Note nothing."""


class ProbeReader(Cloudflare):
    """The reading client, with whole answers."""

    def bulk_answer(self, namespace_id: str, names: Sequence[str]) -> dict[str, Any]:
        """The envelope of a bulk get, of any number of names."""
        body = json.dumps({"keys": list(names), "type": "text", "withMetadata": True}).encode()
        path = f"/storage/kv/namespaces/{namespace_id}/bulk/get"
        answer = self._transport._send("POST", path, {}, body, headers={"Content-Type": "application/json"})
        return dict(json.loads(answer.content))


class ProbeWriter(KVWriter):
    """The writing client, with whole answers."""

    def put_answer(self, namespace_id: str, entries: Sequence[Mapping[str, object]]) -> dict[str, Any]:
        """The envelope of a bulk put."""
        return self._answer("PUT", f"/storage/kv/namespaces/{namespace_id}/bulk", list(entries))

    def delete_answer(self, namespace_id: str, names: Sequence[str]) -> dict[str, Any]:
        """The envelope of a bulk delete."""
        return self._answer("POST", f"/storage/kv/namespaces/{namespace_id}/bulk/delete", list(names))

    def _answer(self, method: str, path: str, document: object) -> dict[str, Any]:
        body = json.dumps(document).encode()
        answer = self._transport._send(method, path, {}, body, headers={"Content-Type": "application/json"})
        return dict(json.loads(answer.content))


class ProbeStore(R2Store):
    """The bucket's client: each request counts, and is sent once."""

    def __init__(self, target: Target, allowance: Allowance, *, allowed_hosts: Collection[str]) -> None:
        super().__init__(
            endpoint=target.environment.r2_endpoint,
            bucket=target.bucket,
            access_key_id=target.r2_access_key_id,
            secret_access_key=target.r2_secret_access_key,
            allowed_hosts=allowed_hosts,
            attempts=1,
        )
        self._client.meta.events.register("before-send.s3", lambda **_: allowance.count())

    def begin_upload(self, key: str) -> str:
        """Begin an upload in parts, and return its id."""
        with self._edge(Sentence("begin of an upload"), key):
            return self._client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort an upload in parts."""
        with self._edge(Sentence("abort of an upload"), key):
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)


@dataclass
class Bench:
    """Everything that a look at one behaviour needs."""

    target: Target
    prefix: str
    reader: ProbeReader
    writer: ProbeWriter
    by_write_token: Cloudflare
    unknown: Cloudflare  # a token that nobody made
    intruder: KVWriter  # writes with the read token
    store: ProbeStore
    allowance: Allowance
    sleep: Callable[[float], None]
    values: dict[str, KvEntry] = field(default_factory=dict)
    """The entries that the first bulk put wrote, by name."""

    @property
    def namespace(self) -> str:
        """The id of the scratch namespace."""
        return self.target.namespace_id

    def key(self, tail: str) -> str:
        """A name under the prefix of this run."""
        return f"{self.prefix}:{tail}"

    def object(self, tail: str) -> str:
        """The name of an object under the prefix of this run."""
        return f"{self.prefix}/{tail}"

    def until(self, good: Callable[[], bool]) -> float | None:
        """Seconds until `good` is true, looked at again and again for KV's propagation time; None if it stays false."""
        begun = time.monotonic()
        for wait in WAITS:
            self.sleep(wait / 60 * timing.SETTLE)
            if good():
                return time.monotonic() - begun
        return None


@contextmanager
def opened(target: Target, prefix: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[Bench]:
    """All clients of a probe on one allowance. Raises ConfigurationError and StoreError."""
    allowance = Allowance(SharedBudget.of(target.environment))
    # A token that is refused is a row of the report, so none is noted as the environment's.
    shared = clients.connection(target.environment, allowance) | {"meter": ProbeMeter(target.environment)}
    with ExitStack() as stack:
        enter = stack.enter_context
        store = ProbeStore(target, allowance, allowed_hosts=shared["allowed_hosts"])
        stack.callback(store.close)
        yield Bench(
            target=target,
            prefix=prefix,
            reader=enter(ProbeReader(token=target.read_token, **shared)),
            writer=enter(ProbeWriter(token=target.write_token, **shared)),
            by_write_token=enter(Cloudflare(token=target.write_token, **shared)),
            unknown=enter(Cloudflare(token=f"{uuid4().hex}kvprobe0", **shared)),
            intruder=enter(KVWriter(token=target.read_token, **shared)),
            store=store,
            allowance=allowance,
            sleep=sleep,
        )
