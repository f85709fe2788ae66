"""The reading client."""

from kvops.cloudflare._d1 import D1_ROUTES, D1Reads
from kvops.cloudflare._kv import KV_ROUTES, KVReads
from kvops.cloudflare._r2 import R2_ROUTES, R2Reads


class Cloudflare(KVReads, D1Reads, R2Reads):
    """Reads KV and D1 of one account and the protection of its buckets. It has no call that changes them."""

    routes = KV_ROUTES + D1_ROUTES + R2_ROUTES
