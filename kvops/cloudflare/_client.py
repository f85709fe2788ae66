"""The reading client."""

from kvops.cloudflare._audit import AUDIT_ROUTES, AuditReads
from kvops.cloudflare._d1 import D1_ROUTES, D1Reads
from kvops.cloudflare._kv import KV_ROUTES, KVReads
from kvops.cloudflare._pages import PAGES_ROUTES, PagesReads
from kvops.cloudflare._r2 import R2_ROUTES, R2Reads
from kvops.cloudflare._tokens import TOKEN_ROUTES, TokenReads
from kvops.cloudflare._workers import WORKER_ROUTES, WorkerReads

_CODE_ROUTES = WORKER_ROUTES + PAGES_ROUTES


class Cloudflare(KVReads, D1Reads, R2Reads, WorkerReads, PagesReads, AuditReads, TokenReads):
    """Reads KV and D1 of one account, the protection of its buckets, and its deployed code. No call changes them."""

    routes = KV_ROUTES + D1_ROUTES + R2_ROUTES + _CODE_ROUTES + AUDIT_ROUTES + TOKEN_ROUTES
