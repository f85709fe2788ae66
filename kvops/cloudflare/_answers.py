"""The contents of an answer beside its result: its error, the remaining budget, the time to wait, the server's clock.

`Retry-After` is read in both forms, a date by the clock that wrote it. An implausible wait (more than an hour) is cut
to the five minutes that Cloudflare documents, because nobody could lift it.
"""

import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple

import httpx

from kvops.cloudflare import _json
from kvops.cloudflare._errors import (
    ApiError,
    AuthError,
    CloudflareError,
    DailyLimitReached,
    KeyNotFound,
    NotFound,
    PageForbidden,
    RateLimited,
    TooLarge,
    UnexpectedAnswer,
)
from kvops.refusals import Sentence, Sentence as _

KEY_NOT_FOUND = 10009
AUTH_CODES = frozenset({10000, 9106, 9109})
BLOCKED = 300.0  # seconds; Cloudflare refuses all requests for this long after its limit is crossed
LONGEST_WAIT = 3_600.0  # seconds; a larger Retry-After is implausible, and BLOCKED is used instead
DAILY_LIMIT = 10048  # "your account has reached the free usage limit for this operation for today"
DAY = 86_400.0  # seconds


MARGIN = 200
"""Requests. With fewer left, ours wait until the reset, because colleagues and other tools share the user's limit."""
MARGIN_OF = 1_200
"""Requests. The limit that MARGIN is for (fundamentals/api/reference/limits); a smaller one keeps as large a part."""


class ToldLimit(NamedTuple):
    """One item of `Ratelimit`: requests left, seconds to the reset, and the quota of its policy if that is told."""

    remaining: int
    reset: float
    quota: int | None

    @property
    def short(self) -> bool:
        """Whether so little is left that ours must wait."""
        margin = MARGIN if self.quota is None else min(MARGIN, self.quota * MARGIN // MARGIN_OF)
        return self.remaining < max(margin, 1)


def received(answer: httpx.Response, most: int) -> httpx.Response:
    """Read the body of the answer. Raises TooLarge if it has more than `most` bytes."""
    body = bytearray()
    try:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > most:
                raise TooLarge(
                    _(
                        "Cloudflare's answer is longer than %(most)s bytes (request id %(request)s).",
                        most=most,
                        request=request_id(answer),
                    ),
                    status=answer.status_code,
                    request_id=request_id(answer),
                )
    finally:
        answer.close()
    encoded = {"content-encoding", "content-length", "transfer-encoding"}
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in encoded]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


def limits(answer: httpx.Response) -> list[ToldLimit]:
    """The items of `Ratelimit` that can be read, each with its quota from `Ratelimit-Policy`."""
    quotas = {name: found.get("q") for name, found in _items(answer.headers.get("ratelimit-policy", ""))}
    return [
        ToldLimit(found["r"], _sane(float(found["t"])), quotas.get(name))
        for name, found in _items(answer.headers.get("ratelimit", ""))
        if {"r", "t"} <= found.keys()
    ]


def _items(header: str) -> list[tuple[str, dict[str, int]]]:
    """Name and numbers of each item of a list such as `"default";r=50;t=30, "burst";r=5;t=1`."""
    found = []
    for item in header.split(","):
        name, _semicolon, rest = item.partition(";")
        numbers = re.findall(r"\b([a-z]+)=(\d{1,9})(?!\d)", rest)
        found.append((name.strip(), {key: int(number) for key, number in numbers}))
    return found


def asked_to_wait(answer: httpx.Response) -> float:
    """Seconds to wait before the next request: `Retry-After`, or the reset of a limit with little left; else 0.0."""
    return max([retry_after(answer) or 0.0, *(one.reset for one in limits(answer) if one.short)])


def remaining(answer: httpx.Response) -> int | None:
    """The requests left of the tightest limit; None if the answer does not tell."""
    return min((one.remaining for one in limits(answer)), default=None)


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds to wait, from either form of Retry-After; None if it is absent, unreadable or negative.

    Nobody can lift a wait, so an implausible one is cut to the longest that Cloudflare documents.
    """
    header = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", header):
        wait = float(header)
    else:
        until = moment(header)
        if until is None:
            return None
        wait = max(until - _now(answer), 0.0)
    return _sane(wait)


def _sane(wait: float) -> float:
    return wait if wait <= LONGEST_WAIT else BLOCKED


def moment(header: str) -> float | None:
    """An HTTP date in seconds since 1970; None if the header is not a date."""
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class RemoteClock:
    """The clock of a server, by the `Date` of its newest answer."""

    def __init__(self) -> None:
        self._heard: tuple[float, float] | None = None

    def hear(self, date: str) -> None:
        """Take the `Date` of an answer that has just arrived; a header that is not a date is ignored."""
        if (said := moment(date)) is not None:
            self._heard = (said, time.monotonic())

    def time(self) -> float | None:
        """The server's time, in seconds since 1970; None before the first answer with a `Date`."""
        if self._heard is None:
            return None
        said, at = self._heard
        return said + time.monotonic() - at


def _now(answer: httpx.Response) -> float:
    """The server's time from `Date`, so that a wrong local clock does no harm; local time without `Date`."""
    said = moment(answer.headers.get("date", ""))
    return time.time() if said is None else said


def request_id(answer: httpx.Response) -> str:
    """Cloudflare's id of the request, for its support."""
    return str(answer.headers.get("cf-ray", "none"))


def unreadable(
    answer: httpx.Response, why: Sentence, *, of: type[UnexpectedAnswer] = UnexpectedAnswer
) -> UnexpectedAnswer:
    """The error for an answer that is not as documented."""
    return of(
        _(
            "Cloudflare's answer (%(status)s) is not as documented: %(why)s (request id %(request)s).",
            status=answer.status_code,
            why=why,
            request=request_id(answer),
        ),
        status=answer.status_code,
        request_id=request_id(answer),
        retry_after=retry_after(answer),
    )


def failure(answer: httpx.Response) -> CloudflareError:
    """The error for an unsuccessful answer."""
    status, ray = answer.status_code, request_id(answer)
    if DAILY_LIMIT in _codes(answer):
        return DailyLimitReached(
            _(
                "Cloudflare says that today's quota of the free plan is used up (code %(code)s; request id"
                " %(request)s).",
                code=DAILY_LIMIT,
                request=ray,
            ),
            retry_after=DAY - _now(answer) % DAY,
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        said = retry_after(answer)
        if said is None:
            said = max((one.reset for one in limits(answer) if one.remaining == 0), default=None)
        wait = BLOCKED if said is None else said
        return RateLimited(
            _(
                "Cloudflare limits our requests (429); try again in %(wait)s s (request id %(request)s).",
                wait=f"{wait:.0f}",
                request=ray,
            ),
            retry_after=wait,
        )
    if "cf-mitigated" in answer.headers:
        return unreadable(answer, _("a challenge page; ask Cloudflare to let this address through"))
    if answer.is_redirect or answer.is_informational:
        return unreadable(answer, _("a redirect, which is never followed"))
    try:
        envelope = _json.as_object(_json.parse_json(answer.content))
        errors = [_json.as_object(item) for item in _json.as_list(envelope.get("errors"))]
        codes = [_json.as_int(error.get("code")) for error in errors]
        said_text = "; ".join(_json.as_text(error.get("message"))[:200] for error in errors)
    except _json.Malformed:
        header = str(answer.headers.get("content-type", ""))
        page = status == HTTPStatus.FORBIDDEN and header.startswith("text/html")
        kind = header or _("no content type")
        return unreadable(
            answer, _("%(kind)s instead of a JSON envelope", kind=kind), of=PageForbidden if page else UnexpectedAnswer
        )
    numbers = ", ".join(map(str, codes)) or _("no code")
    return _kind(status, codes)(
        _(
            "Cloudflare answered %(status)s (%(numbers)s: %(said)s; request id %(request)s).",
            status=status,
            numbers=numbers,
            said=said_text,
            request=ray,
        ),
        status=status,
        codes=codes,
        request_id=ray,
        retry_after=retry_after(answer),
    )


def _codes(answer: httpx.Response) -> set[int]:
    """The error codes in an envelope; empty if the answer is not an envelope."""
    try:
        errors = _json.as_list(_json.as_object(_json.parse_json(answer.content)).get("errors"))
        return {_json.as_int(_json.as_object(error).get("code")) for error in errors}
    except _json.Malformed:
        return set()


def _kind(status: int, codes: list[int]) -> type[ApiError]:
    auth = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if auth or (status < HTTPStatus.INTERNAL_SERVER_ERROR and AUTH_CODES.intersection(codes)):
        return AuthError
    if status == HTTPStatus.NOT_FOUND:
        return KeyNotFound if KEY_NOT_FOUND in codes else NotFound
    return TooLarge if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else ApiError
