"""A D1 with one table, for the bench of the check: `python -m bench.tables ROWS LATENCY`, one order per line.

A real SQLite answers over the same HTTP as the quick fake, and the latency is spent waiting. `write_rows` makes the
file that is compared with it.
"""

import asyncio
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from urllib.parse import unquote

from bench.fakes import ACCOUNTS, SEED
from bench.quick import Connection, where
from tests.fakes.s3 import FakeS3

DATABASE_ID = "d1000000-0000-4000-8000-000000000001"
TABLE = "masters"
FIELDS = {"type": "type", "id": "id", "name": "name", "order": "sort_order"}
"""The members of a row in the file, each with its column."""
NAMES = ("東京", "大阪", "名古屋", "札幌", "福岡")


def rows(count: int) -> Iterator[tuple[str, str, str, int]]:
    """The rows in the order of their key: type, id, name, sort_order."""
    for index in range(count):
        yield "shop", f"{index:08d}", f"{NAMES[index * SEED % len(NAMES)]} {index * SEED % 1_000_003}", index % 9_999


def write_rows(path: Path, count: int) -> None:
    """A file of all rows, as the team's API answers."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"{TABLE}":[')
        for number, batch in enumerate(batched(rows(count), 1_000)):
            texts = (json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False) for row in batch)
            file.write(("," if number else "") + ",".join(texts))
        file.write("]}")


class TableAccount:
    """One account with one database."""

    def __init__(self, count: int) -> None:
        self.routes: Counter[str] = Counter()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute(
            f"CREATE TABLE {TABLE} (type TEXT, id TEXT, name TEXT, sort_order INTEGER, PRIMARY KEY (type, id))"
        )
        self._database.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?)", rows(count))

    def answer(self, method: str, path: str, query: str, body: bytes) -> bytes:
        """The body of an answer to one query."""
        del method, query
        if unquote(path) != f"d1/database/{DATABASE_ID}/query":
            raise ValueError(f"{path} is not served here")
        self.routes["query"] += 1
        asked = json.loads(body)
        found = [dict(row) for row in self._database.execute(asked["sql"], asked["params"])]
        result = {"results": found, "success": True, "meta": {"rows_read": len(found)}}
        return json.dumps({"success": True, "errors": [], "messages": [], "result": [result]}).encode()


async def _serve(count: int, latency: float) -> None:
    accounts = {ACCOUNTS[0]: TableAccount(count)}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(accounts, latency), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/client/v4"
    with FakeS3() as s3:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answer: object = {"BENCH_API": url, **where(s3)}
            if line.strip() == "calls":
                answer = accounts[ACCOUNTS[0]].routes
                accounts[ACCOUNTS[0]].routes = Counter()
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
