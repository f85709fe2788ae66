"""The errors between us and Cloudflare.

CloudflareError                   .outcome_unknown: the call may have had its effect
├── CallRefused                   nothing was sent
│   ├── ConfigurationError        host, scheme, token, id or route is not allowed
│   ├── InvalidKeyName            a name that KV cannot hold or a URL cannot carry
│   └── StatementRefused          SQL that is not one read-only statement
├── RateLimited                   our budget or Cloudflare (429) asks to wait .retry_after seconds
│   └── DailyLimitReached         the free plan's quota of the day is spent: .retry_after until 00:00 UTC
├── TransportError                no answer came
│   └── TooLate                   nothing was sent: a read that the call relies on had grown too old
└── ApiError                      Cloudflare answered: .status .codes .request_id
    ├── AuthError                 token unknown or without the permission
    ├── NotFound                  no such namespace, database or key
    │   └── KeyNotFound           the namespace is there, the key is not
    ├── TooLarge                  413
    ├── CursorRefused             the listing must start again from the beginning
    └── UnexpectedAnswer          HTML, a redirect, a challenge, or JSON that is not as documented
"""

from collections.abc import Collection
from http import HTTPStatus

from kvops.refusals import Sentence


class CloudflareError(Exception):
    """Any failure of a call to Cloudflare. The message is a sentence; the words of Cloudflare are facts in it."""

    outcome_unknown = False


class CallRefused(CloudflareError):
    """The call was refused locally; nothing was sent."""


class ConfigurationError(CallRefused):
    """The host, scheme, token, identifier or route is not one we may use."""


class InvalidKeyName(CallRefused):
    """The name is empty, `.`, `..`, over 512 bytes or not UTF-8; `.name` holds it."""

    def __init__(self, message: Sentence | str, name: str) -> None:
        super().__init__(message)
        self.name = name


class StatementRefused(CallRefused):
    """The SQL is not one read-only statement."""


class RateLimited(CloudflareError):
    """Nothing was done; try again after `.retry_after` seconds."""

    def __init__(self, message: Sentence | str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DailyLimitReached(RateLimited):
    """The free plan's quota of the day is spent; it begins anew at 00:00 UTC."""


class TransportError(CloudflareError):
    """No answer came; `.outcome_unknown` is false only if the request certainly was not sent."""

    def __init__(self, message: Sentence | str, *, outcome_unknown: bool) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class TooLate(TransportError):
    """Nothing was sent: by the time of the connection, a read that the call relies on had grown too old."""

    def __init__(self, message: Sentence | str) -> None:
        super().__init__(message, outcome_unknown=False)


class ApiError(CloudflareError):
    """Cloudflare answered, but not with success."""

    def __init__(
        self,
        message: Sentence | str,
        *,
        status: int,
        codes: Collection[int] = (),
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.codes = frozenset(codes)
        self.request_id = request_id
        self.retry_after = retry_after
        # A refusal (3xx, 4xx) had no effect. A server error, or an unreadable success, may have had one.
        refused = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        self.outcome_unknown = not refused or status == HTTPStatus.REQUEST_TIMEOUT


class AuthError(ApiError):
    """The token is unknown or lacks the permission."""

    @property
    def token_unknown(self) -> bool:
        """Whether Cloudflare does not accept the token at all: it is mistyped, expired, revoked or deleted."""
        return self.status == HTTPStatus.UNAUTHORIZED


class NotFound(ApiError):
    """No such namespace, database or key."""


class KeyNotFound(NotFound):
    """The key does not exist (code 10009), as opposed to its namespace or account."""


class TooLarge(ApiError):
    """The request or its answer is over a size limit: Cloudflare's (413) or our own limit for an answer."""


class CursorRefused(ApiError):
    """The cursor is no longer accepted; start the listing again from the beginning."""


class UnexpectedAnswer(ApiError):
    """The answer does not have the documented form."""


class PageForbidden(UnexpectedAnswer):
    """A page for people with 403: Cloudflare's edge let the request not through to the API."""


class NameRefused(PageForbidden):
    """The edge refuses requests with this key's name in their path, such as `...`. A bulk read has no name there."""
