"""Cloudflare and the bucket, in a process of their own: `python -m bench.fakes KEYS`, one order per line."""

import json
import sys
import time
from collections import Counter
from dataclasses import replace

from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3

ACCOUNTS = ("a" * 32, "b" * 32)
NAMESPACES = ("1" * 32, "2" * 32)
ACCOUNT, NAMESPACE = ACCOUNTS[0], NAMESPACES[0]
READ_TOKEN = "bench-read-token"
PREFIX = "master:"
SEED = 20260101
VALUE_SIZE = 1024


def main(keys: int, size: int = VALUE_SIZE) -> None:
    """Serve so many keys, each with a value of so many bytes, until the standard input ends."""
    with FakeCloudflare() as cloudflare, FakeS3() as s3:
        cloudflare.add_bucket(ACCOUNT, s3.bucket, locked="backups/")
        cloudflare.add_token(READ_TOKEN, account=ACCOUNT, permission="read")
        made = cloudflare.add_derived(
            ACCOUNT, NAMESPACE, "bench-settings", count=keys, seed=SEED, prefix=PREFIX, value_size=size
        )
        for line in sys.stdin:
            answer: object = None
            match line.split():
                case ["where"]:
                    answer = {
                        "BENCH_API": cloudflare.base_url,
                        "BENCH_S3": s3.endpoint,
                        "BENCH_BUCKET": s3.bucket,
                        "BENCH_R2_KEY": s3.access_key_id,
                        "BENCH_R2_SECRET": s3.secret_access_key,
                    }
                case ["calls"]:
                    answer = Counter(call.route for call in cloudflare.journal)
                    cloudflare.journal.clear()
                case ["change", number]:
                    for index in range(0, keys, keys // int(number)):
                        made.put(replace(made.item(index), expiration=int(time.time()) + 86_400))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
