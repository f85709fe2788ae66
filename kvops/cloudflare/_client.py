"""The reading client."""

from kvops.cloudflare._d1 import D1_ROUTES, D1Reads
from kvops.cloudflare._kv import KV_ROUTES, KVReads


class Cloudflare(KVReads, D1Reads):
    """Reads KV and D1 of one account; it can send nothing that changes them."""

    routes = KV_ROUTES + D1_ROUTES
