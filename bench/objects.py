"""A bucket of any number of objects, for the bench of storage: `python -m bench.objects OBJECTS`, one order per line.

The listing is computed from the index, never kept: a third belongs to nothing, the rest lies under the stems of copies
of which nobody knows.
"""

import json
import sys
from collections.abc import Mapping
from hashlib import md5

from bench.fakes import ACCOUNT, ACCOUNTS, READ_TOKEN
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3, S3Answer

PREFIX = "bench/backups/kv/old/"


def name(index: int) -> str:
    """The name of an object; byte order is number order."""
    return f"{PREFIX}{index:012d}.json"


class ManyObjects(FakeS3):
    """So many objects that are computed, beside those that are put."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.listings = count, 0

    def list(self, query: Mapping[str, str]) -> S3Answer:
        """ListObjectsV2, by name."""
        self.listings += 1
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        if not PREFIX.startswith(prefix):
            return super().list(query)
        first = (
            0 if after < PREFIX else int(after.removeprefix(PREFIX)[:12]) + 1 if after < f"{PREFIX}~" else self.count
        )
        last = min(first + int(query.get("max-keys", "1000")), self.count)
        items = "".join(
            f"<Contents><Key>{name(index)}</Key><Size>{index % 9999}</Size>"
            f"<ETag>{md5(b'%d' % index).hexdigest()}</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for index in range(first, last)
        )
        more = str(last < self.count).lower()
        return S3Answer(200, f"<ListBucketResult><IsTruncated>{more}</IsTruncated>{items}</ListBucketResult>".encode())


def main(count: int) -> None:
    """Serve until the standard input ends."""
    with FakeCloudflare() as cloudflare, ManyObjects(count) as s3:
        cloudflare.add_token(READ_TOKEN, account=ACCOUNT, permission="read")
        for account in ACCOUNTS:
            cloudflare.add_bucket(account, s3.bucket, locked="bench/backups/")
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
                    answer, s3.listings = {"listings": s3.listings}, 0
                    s3.journal.clear()
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
