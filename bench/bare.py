"""What the product is held against: httpx with nothing around it. `python -m bench.bare list|get KEYS`, no Django."""

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from bench.fakes import ACCOUNT, NAMESPACE, PREFIX

SIDE_BY_SIDE = 8
BATCH = 100
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


def main(what: str, keys: int) -> None:
    """Do one of the loops and print its seconds, and its processor seconds, as JSON."""
    with httpx.Client(base_url=os.environ["BENCH_API"], timeout=60, trust_env=False) as client:
        begun = time.perf_counter()
        if what == "list":
            assert len(list_names(client)) == keys
        else:
            assert get_values(client, [f"{PREFIX}{index:08d}" for index in range(keys)]) > keys
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "processor": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
