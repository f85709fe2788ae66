"""Puts the sample data into the local accounts, through Cloudflare's documented routes."""

import base64
import json
import time
from collections.abc import Callable, Iterable
from typing import Self

import httpx

from sandbox.data import Json, SampleEntry, SampleTable, master_entries, other_entries, tables
from sandbox.environment import SandboxAccount

KEYS_PER_CALL = 400
BYTES_PER_CALL = 4_000_000


class SeedingFailed(Exception):
    """The local accounts refused the sample data; the message has their answer."""


def seed_first(account: SandboxAccount, api_base_url: str) -> None:
    """Seed D1 and `master:`, so that the pages have content; raises SeedingFailed."""
    with _Api(account, api_base_url) as api:
        for table in tables(account):
            api.fill(table)
        api.put(list(master_entries()))


def seed_rest(account: SandboxAccount, api_base_url: str, progress: Callable[[int, int], None]) -> None:
    """Seed all other keys. Calls `progress` with the keys done and their total; raises SeedingFailed."""
    entries = list(other_entries(account))
    done = 0
    with _Api(account, api_base_url) as api:
        for batch in _batches(entries):
            api.put(batch)
            done += len(batch)
            progress(done, len(entries))


class _Api:
    def __init__(self, account: SandboxAccount, base_url: str) -> None:
        self.account = account
        self.client = httpx.Client(
            base_url=f"{base_url}/accounts/{account.account_id}",
            headers={"Authorization": f"Bearer {account.write_token}"},
            timeout=120.0,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def fill(self, table: SampleTable) -> None:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in table.columns.items())
        values = ", ".join(f"value ->> '$.{name}'" for name in table.columns)
        batch: list[Json] = [
            {"sql": f'DROP TABLE IF EXISTS "{table.name}"'},
            {"sql": f'CREATE TABLE "{table.name}" ({columns})'},
            {
                "sql": f'INSERT INTO "{table.name}" SELECT {values} FROM json_each(?)',  # noqa: S608 (names of our own)
                "params": [json.dumps(table.rows, ensure_ascii=False)],
            },
        ]
        self._call("POST", f"/d1/database/{self.account.database_id}/query", {"batch": batch})

    def put(self, entries: list[SampleEntry]) -> None:
        now = int(time.time())
        path = f"/storage/kv/namespaces/{self.account.namespace_id}/bulk"
        result = self._call("PUT", path, [_pair(entry, now) for entry in entries])
        if not isinstance(result, dict) or result["unsuccessful_keys"]:
            raise SeedingFailed(f"{self.account.name}: not all sample keys were written: {result}")

    def _call(self, method: str, path: str, body: Json) -> Json:
        answer = self.client.request(method, path, json=body)
        if answer.is_error:
            raise SeedingFailed(f"{self.account.name}: {method} {path}: {answer.status_code} {answer.text[:500]}")
        result: Json = answer.json()["result"]
        return result


def _pair(entry: SampleEntry, now: int) -> Json:
    pair: dict[str, Json] = {"key": entry.key, "value": base64.b64encode(entry.value).decode(), "base64": True}
    if entry.metadata is not None:
        pair["metadata"] = entry.metadata
    if entry.ttl is not None:
        pair["expiration"] = now + entry.ttl
    return pair


def _batches(entries: Iterable[SampleEntry]) -> Iterable[list[SampleEntry]]:
    batch: list[SampleEntry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == KEYS_PER_CALL or size + len(entry.value) > BYTES_PER_CALL):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.value)
    yield batch
