"""What the product is held against: httpx with nothing around it, no Django.

`python -m bench.bare list|get|table KEYS`
"""

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from backups.datasets.statements import Table
from bench.fakes import ACCOUNT, NAMESPACE, PREFIX
from bench.tables import DATABASE_ID

SIDE_BY_SIDE = 8
BATCH = 100
PAGE = 5_000
"""Rows; the largest page that the product asks for."""
_QUERY = f"/accounts/{ACCOUNT}/d1/database/{DATABASE_ID}/query"
_PATH = f"/accounts/{ACCOUNT}/storage/kv/namespaces/{NAMESPACE}"


def list_names(client: httpx.Client) -> list[str]:
    """Every name, page after page: the loop anybody would write."""
    names: list[str] = []
    cursor = ""
    while True:
        query = {"limit": "1000", "prefix": PREFIX} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"{_PATH}/keys", params=query).raise_for_status().json()
        names += [key["name"] for key in page["result"]]
        cursor = page["result_info"]["cursor"]
        if not cursor:
            return names


def get_values(client: httpx.Client, names: Sequence[str]) -> int:
    """Every value, a hundred a call and eight calls at a time; the bytes that came."""

    def get(start: int) -> int:
        asked = {"keys": names[start : start + BATCH], "type": "text", "withMetadata": True}
        return len(client.post(f"{_PATH}/bulk/get", json=asked).raise_for_status().content)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return sum(pool.map(get, range(0, len(names), BATCH)))


def read_table(client: httpx.Client) -> int:
    """Every row of the table, page after page in the order of its key; their number."""
    table = Table("masters", ["type", "id"], ["type", "id", "name", "sort_order"])
    after: list[tuple[str, str]] = []
    found = 0
    while True:
        sql, params = table.page_sql(after, PAGE)
        answer = client.post(_QUERY, json={"sql": sql, "params": params}).raise_for_status().json()
        page = answer["result"][0]["results"]
        found += len(page) - bool(after)  # a page begins with the last row of the page before
        if len(page) < PAGE:
            return found
        after = [("t", page[-1]["c0"]), ("t", page[-1]["c1"])]


def main(what: str, keys: int) -> None:
    """Do one of the loops and print its seconds, and its processor seconds, as JSON."""
    with httpx.Client(base_url=os.environ["BENCH_API"], timeout=60, trust_env=False) as client:
        begun = time.perf_counter()
        if what == "list":
            assert len(list_names(client)) == keys
        elif what == "table":
            assert read_table(client) == keys
        else:
            assert get_values(client, [f"{PREFIX}{index:08d}" for index in range(keys)]) > keys
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "processor": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
