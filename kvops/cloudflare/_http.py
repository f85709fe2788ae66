"""One transport for all calls: the allowed requests and hosts, retries, and the reading of answers."""

import ipaddress
import logging
import random
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote, urlencode

import httpx

from kvops.cloudflare import _json
from kvops.cloudflare._answers import RemoteClock, asked_to_wait, failure, received, remaining, unreadable
from kvops.cloudflare._budget import CallMeter, RequestBudget, Unmetered
from kvops.cloudflare._deadline import By, Deadline, Over, transport
from kvops.cloudflare._errors import ApiError, AuthError, ConfigurationError, RateLimited, TooLate, TransportError
from kvops.refusals import Sentence as _, said_by

# These libraries log every URL at INFO and DEBUG, and some URLs contain key names.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"
ID = r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}"
ATTEMPTS = 4
CONNECT_TIMEOUT = 10.0  # seconds
BACKOFF_CAP = 4.0  # seconds
PAGE_SIZE = 100
USER = "/user/"
"""What the paths begin with that are about the token's own user."""


@dataclass(frozen=True, slots=True)
class Route:
    """A call we may send: method and path below the account. `repeatable` means that sending it twice is harmless.

    A path that begins with `/user/` is about the token's own user, and not below the account.

    `operation` is the kind Cloudflare counts: "read", "write", "delete", "list", or nothing. An answer of more than
    `most` bytes is refused, like a 413 from Cloudflare.
    """

    name: str
    method: str
    pattern: str
    repeatable: bool
    operation: str = ""
    most: int = 64 * 1024 * 1024


def checked_id(identifier: str) -> str:
    """The account, namespace or database id unchanged; raises ConfigurationError."""
    if not re.fullmatch(ID, identifier):
        raise ConfigurationError(
            _("%(identifier)s is not an identifier; correct the environment.", identifier=repr(identifier))
        )
    return identifier


class Transport:
    """Sends the calls that the routes allow. Safe to use from several threads."""

    def __init__(
        self,
        *,
        account_id: str,
        token: str,
        base_url: str,
        allowed_hosts: Collection[str],
        routes: Collection[Route],
        budget: RequestBudget,
        meter: CallMeter,
        max_wait: float,
        sleep: Callable[[float], None],
        timeout: float,
    ) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ConfigurationError(_("The token is empty or holds white space; store it again."))
        self.calls = 0
        self.clock = RemoteClock()
        self._counting = Lock()
        self._hosts = allowed_hosts
        self._api = base_url.rstrip("/")
        self._root = f"{self._api}/accounts/{checked_id(account_id)}"
        self._routes = [(r, re.compile(re.escape(_path(self._below(r.pattern))) + r.pattern)) for r in routes]
        self._budget, self._meter = budget, meter
        self._max_wait, self._sleep = max_wait, sleep
        insist_allowed_host(self._hosts, httpx.URL(self._root))
        self._timeout = timeout
        self._deadline = Deadline()
        self._client = httpx.Client(
            transport=transport(self._deadline),
            headers={"Authorization": f"Bearer {token}", "User-Agent": "kvops"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def written_at(self) -> float:
        """The time when the end of the newest call was written, by `time.monotonic()`."""
        return self._deadline.written_at

    def close(self) -> None:
        """Close the connections and store the meter's counts."""
        self._client.close()
        self._meter.keep()

    def json[T](
        self,
        method: str,
        path: str,
        *,
        read: Callable[[_json.Object], T],
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        keys: int = 1,
        by: By | None = None,
        last_wins: bool = False,
    ) -> T:
        """Send a call about `keys` keys and return the result that `read` takes from the successful envelope.

        `last_wins` is that of `parse_json`. Raises TooLate if the call could not begin in time.
        """
        typed = {"Content-Type": content_type} if body is not None else {}
        answer = self._send(method, path, query or {}, body, headers={**typed, **(headers or {})}, keys=keys, by=by)
        try:
            envelope = _json.as_object(_json.parse_json(answer.content, last_wins=last_wins))
            if envelope.get("success") is True:
                return read(envelope)
        except _json.Malformed as error:
            raise unreadable(answer, said_by(error)) from error
        raise failure(answer)

    def raw(self, method: str, path: str) -> tuple[bytes, httpx.Headers]:
        """Send a call whose successful answer is bytes without an envelope."""
        answer = self._send(method, path, {}, None)
        return answer.content, answer.headers

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        *,
        headers: Mapping[str, str] | None = None,
        keys: int = 1,
        by: By | None = None,
    ) -> httpx.Response:
        request, route = self._build(method, path, query, body, headers or {})
        attempt, failed = 0, None
        while True:
            attempt += 1
            self._wait_for_budget(failed)
            if route.operation:
                self._meter.count(route.operation, keys)
            try:
                return self._once(request, route, by)
            except (RateLimited, TransportError, ApiError) as error:
                delay = _delay(error, attempt)
                if delay is None or delay > self._max_wait:
                    raise
                if attempt == ATTEMPTS or not route.repeatable:
                    raise
                failed = error
            self._sleep(delay)

    def _once(self, request: httpx.Request, route: Route, by: By | None = None) -> httpx.Response:
        with self._counting:
            self.calls += 1
        began = time.monotonic()
        try:
            with self._deadline.within(self._timeout, by):
                answer = received(self._client.send(request, stream=True), route.most)
        except Over:
            late = _("Connecting took so long that %(call)s would rely on what is too old.", call=route.name)
            raise TooLate(late) from None
        except httpx.RequestError as error:
            never_left = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            self._meter.answered(route.name, 0, time.monotonic() - began)
            # Not chained: the cause holds the request, and with it the URL and the token.
            raise TransportError(
                _(
                    "No answer from Cloudflare to %(call)s (%(kind)s: %(error)s).",
                    call=route.name,
                    kind=type(error).__name__,
                    error=error,
                ),
                outcome_unknown=not never_left,
            ) from None
        self._meter.answered(route.name, answer.status_code, time.monotonic() - began)
        self.clock.hear(answer.headers.get("date", ""))
        self._budget.observed(wait=asked_to_wait(answer), remaining=remaining(answer))
        if answer.status_code != HTTPStatus.OK or "cf-mitigated" in answer.headers:
            failed = failure(answer)
            if isinstance(failed, AuthError):
                self._meter.refused(route.name, failed.status)
            raise failed
        return answer

    def _below(self, path: str) -> str:
        return self._api if path.startswith(USER) else self._root

    def _wait_for_budget(self, failed: Exception | None) -> None:
        """Wait until the budget grants a request. Raises RateLimited or, in a retry, the error behind it."""
        waited = 0.0
        while wait := self._budget.take(1):
            waited += wait
            if waited > self._max_wait:
                raise failed or RateLimited(
                    _("The request budget is spent; try again in %(wait)s s.", wait=f"{wait:.0f}"), retry_after=wait
                )
            self._sleep(wait)

    def _build(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[httpx.Request, Route]:
        """Build the request, and check the final URL after the library's own rewriting."""
        # httpx's own encoding of a query writes a space as '+'.
        asked = f"?{urlencode(query, quote_via=quote, safe='')}" if query else ""
        whole = f"{self._below(path)}{path}"
        request = self._client.build_request(method, f"{whole}{asked}", content=body, headers=headers)
        insist_allowed_host(self._hosts, request.url)
        intended = f"{_path(self._below(path))}{path}"
        if request.url.raw_path.decode() == intended + asked:
            for route, pattern in self._routes:
                if route.method == request.method and pattern.fullmatch(intended):
                    return request, route
        raise ConfigurationError(_("This %(method)s is not a call this client may send.", method=method))


def _path(url: str) -> str:
    return httpx.URL(url).raw_path.decode()


def _delay(error: RateLimited | TransportError | ApiError, attempt: int) -> float | None:
    """Seconds before the next attempt; None if another attempt cannot help."""
    backoff = min(BACKOFF_CAP, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
    match error:
        case TransportError():
            return backoff
        case RateLimited(retry_after=wait):
            return max(wait, backoff)
        case ApiError(status=status, retry_after=wait) if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return max(wait or 0.0, backoff)
    return None


class ApiClient:
    """The base class of our clients; a subclass names its routes."""

    routes: ClassVar[tuple[Route, ...]] = ()

    def __init__(
        self,
        *,
        account_id: str,
        token: str,
        allowed_hosts: Collection[str],
        budget: RequestBudget,
        meter: CallMeter | None = None,
        base_url: str = DEFAULT_BASE_URL,
        max_wait: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = 60.0,
    ) -> None:
        """Times in seconds, `timeout` for a whole request. A wait longer than `max_wait` raises RateLimited.

        Raises ConfigurationError.
        """
        self._transport = Transport(
            account_id=account_id,
            token=token,
            base_url=base_url,
            allowed_hosts=allowed_hosts,
            routes=self.routes,
            budget=budget,
            meter=meter or Unmetered(),
            max_wait=max_wait,
            sleep=sleep,
            timeout=timeout,
        )

    @property
    def calls(self) -> int:
        """The number of HTTP requests sent so far, retries included."""
        return self._transport.calls

    def time(self) -> float | None:
        """Cloudflare's time by its newest answer, in seconds since 1970; None before the first answer with a `Date`."""
        return self._transport.clock.time()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _all_pages[T](self, path: str, read: Callable[[_json.Object], T], *, per_page: int = PAGE_SIZE) -> list[T]:
        """All items of a listing with page numbers."""
        items: list[T] = []
        for page in range(1, 1_001):
            query = {"page": str(page), "per_page": str(per_page)}
            found = self._transport.json(
                "GET",
                path,
                query=query,
                read=lambda envelope: [read(_json.as_object(item)) for item in _json.as_list(envelope.get("result"))],
            )
            items += found
            if len(found) < per_page:
                break
        return items


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def insist_allowed_host(hosts: Collection[str], url: httpx.URL) -> None:
    """Raise ConfigurationError unless the address is https on one of the hosts; plain http is for this machine."""
    if url.host not in hosts or url.userinfo:
        sentence = _("%(host)s is not an allowed API host; add it to KVOPS_ALLOWED_API_HOSTS.", host=repr(url.host))
        raise ConfigurationError(sentence)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ConfigurationError(_("%(host)s must be called by https.", host=repr(url.host)))
