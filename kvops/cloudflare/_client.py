"""The reading client, with the calls about its own token."""

from kvops.cloudflare import _json
from kvops.cloudflare._audit import AUDIT_ROUTES, AuditReads
from kvops.cloudflare._d1 import D1_ROUTES, D1Reads
from kvops.cloudflare._errors import AuthError
from kvops.cloudflare._http import USER, ApiClient, Route
from kvops.cloudflare._kv import KV_ROUTES, KVReads
from kvops.cloudflare._pages import PAGES_ROUTES, PagesReads
from kvops.cloudflare._r2 import R2_ROUTES, R2Reads
from kvops.cloudflare._workers import WORKER_ROUTES, WorkerReads

OF_USER, OF_ACCOUNT = f"{USER}tokens/verify", "/tokens/verify"
TOKEN_ROUTES = (
    Route("verify_token", "GET", OF_USER, repeatable=True),
    Route("verify_account_token", "GET", OF_ACCOUNT, repeatable=True),
)


class TokenReads(ApiClient):
    """The two calls about the client's own token."""

    def token_is_active(self) -> bool:
        """Whether the token is known and active: a user's token, or else one that the account owns."""
        for path in (OF_USER, OF_ACCOUNT):
            try:
                return self._transport.json("GET", path, read=_status) == "active"
            except AuthError:
                continue
        return False


def _status(envelope: _json.Object) -> str:
    return _json.as_text(_json.as_object(envelope.get("result")).get("status"))


_CODE_ROUTES = WORKER_ROUTES + PAGES_ROUTES


class Cloudflare(KVReads, D1Reads, R2Reads, WorkerReads, PagesReads, AuditReads, TokenReads):
    """Reads KV and D1 of one account, the protection of its buckets, and its deployed code. No call changes them."""

    routes = KV_ROUTES + D1_ROUTES + R2_ROUTES + _CODE_ROUTES + AUDIT_ROUTES + TOKEN_ROUTES
