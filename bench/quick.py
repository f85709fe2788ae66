"""A Cloudflare that costs next to nothing, for the benches of scale: `python -m bench.quick KEYS LATENCY`.

It serves the same derived namespaces as `tests.fakes` over real HTTP, one per account, and only what the benches ask:
so that a ratio measures the product, pages and digests are prepared before it begins, one event loop answers, and the
latency is spent waiting. Its journal (when, which account, which route, what was deleted) is the judge.
`tests/test_quick.py` holds its answers against those of the fake the tests use.
"""

import asyncio
import json
import sys
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Protocol, cast
from urllib.parse import parse_qs, unquote

from bench.fakes import ACCOUNTS, NAMESPACES, PREFIX, SEED, VALUE_SIZE
from tests.fakes.cloudflare_api import ABORTING, FakeBucket
from tests.fakes.namespaces import CHUNK, Derived, Item
from tests.fakes.s3 import FakeS3

PAGE = 1000
_TITLE = "bench-settings"

_BUCKET = FakeBucket()
_BUCKET.lock("backups/", days=30)
_PROTECTION = {
    "lock": {"rules": _BUCKET.rules},
    "lifecycle": {"rules": [*ABORTING, *_BUCKET.lifecycle]},
    "domains/managed": {"bucketId": "0" * 32, "domain": "pub-bench.r2.dev", "enabled": _BUCKET.r2_dev},
    "domains/custom": {"domains": _BUCKET.custom},
}
"""What guards the bucket: one lock rule, and nobody else can read it."""


@dataclass
class QuickAccount:
    """One account with one namespace, and what was asked of it: when each call came, how often each route."""

    namespace: Derived
    times: "array[float]" = field(default_factory=lambda: array("d"))
    routes: Counter[str] = field(default_factory=Counter)
    twice: int = 0  # names that were not there any more when they were deleted

    def __post_init__(self) -> None:
        self._digests = [_digest(self.namespace, index) for index in range(self.namespace.count)]
        self._pages = {start: self._page(start, PAGE) for start in range(0, self.namespace.count, PAGE)}

    def forget(self) -> None:
        """Begin the journal anew."""
        self.times, self.routes, self.twice = array("d"), Counter(), 0

    def change(self, number: int) -> None:
        """Give so many keys, evenly spread, another expiration."""
        until = int(time.time()) + 86_400
        for index in range(0, self.namespace.count, self.namespace.count // number):
            self.namespace.put(replace(self.namespace.item(index), expiration=until))
        self._pages = {}

    def answer(self, method: str, path: str, query: str, body: bytes) -> bytes:
        """The body of an answer to one call below the account, which is written down."""
        self.times.append(time.time())
        if not path.startswith("r2/buckets/"):
            return self._of_namespace(method, path.partition("/namespaces/")[2].partition("/")[2], query, body)
        self.routes["protection"] += 1
        return _success(json.dumps(_PROTECTION[path.split("/", 3)[3]]))

    def _of_namespace(self, method: str, path: str, query: str, body: bytes) -> bytes:
        route, _, name = path.strip("/").partition("/")
        match method, route, name:
            case "GET", "", _:
                self.routes["namespace"] += 1
                shown = {"id": self.namespace.id, "title": self.namespace.title, "supports_url_encoding": True}
                return _success(json.dumps(shown))
            case "GET", "keys", _:
                self.routes["keys"] += 1
                return self._keys({name: found[-1] for name, found in parse_qs(query).items()})
            case "POST", "bulk", "get":
                self.routes["bulk_get"] += 1
                return _success(f'{{"values":{{{",".join(map(self._value, json.loads(body)["keys"]))}}}}}')
            case "POST", "bulk", "delete":
                self.routes["bulk_delete"] += 1
                return self._delete(json.loads(body))
            case "GET", "values", _:
                self.routes["value"] += 1
                return cast("Item", self.namespace.get(unquote(name))).data
            case "GET", "metadata", _:
                self.routes["metadata"] += 1
                return _success("null")
        raise ValueError(f"{method} {path} is not served here")

    def _keys(self, query: dict[str, str]) -> bytes:
        if not PREFIX.startswith(query.get("prefix", "")) or query.get("limit", str(PAGE)) != str(PAGE):
            raise ValueError(f"such a listing is not served here: {query}")
        start = int(query.get("cursor", "0"))
        # A page that nothing was taken from since the beginning is ready.
        if start in self._pages and self.namespace._gone.find(1, start, start + PAGE) < 0:
            return self._pages[start]
        return self._page(start, PAGE)

    def _page(self, start: int, size: int) -> bytes:
        gone, shown, index = self.namespace._gone, list[str](), start
        while len(shown) < size and (index := gone.find(0, index)) >= 0:
            shown.append(self._listed(index))
            index += 1
        cursor = str(index) if index >= 0 and gone.find(0, index) >= 0 else ""
        return _success(f"[{','.join(shown)}]", f',"result_info":{{"count":{len(shown)},"cursor":"{cursor}"}}')

    def _listed(self, index: int) -> str:
        changed = self.namespace.changed.get(index)
        expiration = f',"expiration":{changed.expiration}' if changed else ""
        return f'{{"name":"{self.namespace.name(index)}"{expiration}}}'

    def _value(self, name: str) -> str:
        index = self.namespace._index(name)
        if index is None or self.namespace._gone[index]:
            return f'"{name}":null'
        changed = self.namespace.changed.get(index)
        expiration = f',"expiration":{changed.expiration}' if changed else ""
        data = (self._digests[index] * (VALUE_SIZE // CHUNK + 1))[:VALUE_SIZE]
        return f'"{name}":{{"value":"{data}","metadata":null{expiration}}}'

    def _delete(self, names: Sequence[str]) -> bytes:
        self.twice += sum(self.namespace.delete(name) is None for name in names)
        return _success(f'{{"successful_key_count":{len(names)},"unsuccessful_keys":[]}}')

    def journal(self, window: float) -> dict[str, object]:
        """What was asked: calls per route, the first and the last, the most within any `window` seconds."""
        most = first = 0
        for last, at in enumerate(self.times):
            while self.times[first] <= at - window:
                first += 1
            most = max(most, last - first + 1)
        return {
            "routes": self.routes,
            "calls": len(self.times),
            "seconds": self.times[-1] - self.times[0] if self.times else 0.0,
            "most": most,
            "gone": self.namespace._gone.count(1),
            "twice": self.twice,
        }


def _digest(namespace: Derived, index: int) -> str:
    return sha256(f"{namespace.seed}:{index}".encode()).hexdigest()


def _success(result: str, more: str = "") -> bytes:
    return f'{{"success":true,"errors":[],"messages":[],"result":{result}{more}}}'.encode()


class Answering(Protocol):
    """An account that answers calls."""

    def answer(self, method: str, path: str, query: str, body: bytes) -> bytes:
        """The body of an answer to one call below the account."""


class Connection(asyncio.Protocol):
    """HTTP/1.1 with one request at a time, which is what our clients do."""

    def __init__(self, accounts: Mapping[str, Answering], latency: float) -> None:
        self._accounts, self._latency = accounts, latency
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].decode().lower().split("\r\n")
        sizes = [int(line.partition(":")[2]) for line in head if line.startswith("content-length:")]
        whole = end + 4 + (sizes[0] if sizes else 0)
        if len(self._received) < whole:
            return
        method, target, _ = self._received[:end].decode().split("\r\n")[0].split(" ")
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        path, _, query = target.partition("?")
        account, _, below = path.partition("/accounts/")[2].partition("/")
        answer = self._accounts[account].answer(method, below, query, body)
        head_text = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        asyncio.get_running_loop().call_later(self._latency, self._transport.write, head_text.encode() + answer)


async def _serve(keys: int, latency: float) -> None:
    accounts = {
        account: QuickAccount(
            Derived(account, namespace, _TITLE, count=keys, seed=SEED, prefix=PREFIX, value_size=VALUE_SIZE)
        )
        for account, namespace in zip(ACCOUNTS, NAMESPACES, strict=True)
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(accounts, latency), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/client/v4"
    with FakeS3() as s3:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answer: object = None
            match line.split():
                case ["where"]:
                    answer = {"BENCH_API": url, **where(s3)}
                case ["calls"]:
                    answer = sum((account.routes for account in accounts.values()), Counter[str]())
                    for account in accounts.values():
                        account.forget()
                case ["journal", window]:
                    answer = [account.journal(float(window)) for account in accounts.values()]
                case ["change", number]:
                    for account in accounts.values():
                        account.change(int(number))
            print(json.dumps(answer), flush=True)


def where(s3: FakeS3) -> dict[str, str]:
    """How to reach the bucket."""
    return {
        "BENCH_S3": s3.endpoint,
        "BENCH_BUCKET": s3.bucket,
        "BENCH_R2_KEY": s3.access_key_id,
        "BENCH_R2_SECRET": s3.secret_access_key,
    }


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
