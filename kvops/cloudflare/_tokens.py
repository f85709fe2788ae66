"""Asking whether Cloudflare still knows a token. It says nothing about the token's permissions."""

from kvops.cloudflare import _json
from kvops.cloudflare._errors import AuthError
from kvops.cloudflare._http import USER, ApiClient, Route

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
