"""The same backup with Cloudflare's own SDK, in its own virtual environment: `python sdk_backup.py FILE`, no KVOps.

Lists all names, reads their values a hundred a call and eight calls at a time, writes one JSON object per line; prints
the keys and the seconds.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from typing import Any

from cloudflare import Cloudflare, DefaultHttpxClient

ACCOUNT, NAMESPACE = os.environ["BENCH_ACCOUNT"], os.environ["BENCH_NAMESPACE"]


def main(path: str) -> None:
    client = Cloudflare(
        api_token=os.environ["BENCH_READ_TOKEN"],
        base_url=os.environ["BENCH_API"],
        http_client=DefaultHttpxClient(trust_env=False),
    )

    def read(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        found = client.kv.namespaces.bulk_get(
            NAMESPACE, account_id=ACCOUNT, keys=list(names), type="text", with_metadata=True
        )
        values: dict[str, dict[str, Any]] = found.to_dict()["values"]
        return values

    begun = time.perf_counter()
    listed = [key.name for key in client.kv.namespaces.keys.list(NAMESPACE, account_id=ACCOUNT, limit=1000)]
    listing = time.perf_counter() - begun
    written = 0
    with Path(path).open("w", encoding="utf-8") as file, ThreadPoolExecutor(8) as pool:
        for values in pool.map(read, batched(listed, 100)):
            for name, value in values.items():
                file.write(json.dumps({"key": name, **value}) + "\n")
                written += 1
    print(json.dumps({"keys": written, "listing": listing, "seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    main(sys.argv[1])
