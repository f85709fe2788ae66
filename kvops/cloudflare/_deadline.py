"""A time limit for a whole request. A timeout of httpx starts anew with every byte that arrives; this limit does not.

It is checked before every read and write of the socket, so nothing is written after the limit. A request may also rely
on an earlier read that must not be too old: connecting, or a stalled line, can outlast that age.
"""

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import local
from typing import Any

import httpcore
import httpx

SLICE = 16 * 1024  # bytes written between two checks of the clock


class Over(Exception):
    """The time to begin passed before the first byte was written."""


@dataclass(frozen=True)
class By:
    """A time, by `time.monotonic()`, by which a request must have begun or, if `whole`, must be written completely."""

    time: float
    whole: bool


class Deadline:
    """The time limit of the request that the current thread is making."""

    def __init__(self) -> None:
        self._thread = local()
        self.written_at = 0.0
        """The time when the newest bytes of a request were handed to the kernel, by `time.monotonic()`."""

    @contextmanager
    def within(self, seconds: float, by: By | None = None) -> Iterator[None]:
        """Make one request in this block."""
        self._thread.until = time.monotonic() + seconds
        self._thread.by, self._thread.begun = by, False
        try:
            yield
        finally:
            del self._thread.until

    def write(self, timeout: float | None) -> float | None:
        """The seconds the next piece of a request may take. Called before each piece.

        Raises Over if the request may no longer begin, and WriteTimeout if it may not go on.
        """
        now = time.monotonic()
        by: By | None = getattr(self._thread, "by", None)
        left = self.left(timeout, httpcore.WriteTimeout)
        if by is not None and now >= by.time and not self._thread.begun:
            raise Over
        if by is not None and by.whole:
            if now >= by.time:
                raise httpcore.WriteTimeout("what it relies on grew too old while it was sent")
            left = by.time - now if left is None else min(left, by.time - now)
        self._thread.begun, self.written_at = True, now
        return left

    def left(self, timeout: float | None, over: type[httpcore.TimeoutException]) -> float | None:
        """The shorter of a timeout and the remaining time; raises `over` if no time remains."""
        until: float | None = getattr(self._thread, "until", None)
        if until is None:
            return timeout
        seconds = until - time.monotonic()
        if seconds <= 0:
            raise over("the whole request took too long")
        return seconds if timeout is None else min(timeout, seconds)


def transport(deadline: Deadline) -> httpx.HTTPTransport:
    """A transport of httpx whose connections keep to the deadline."""
    context = _tls()
    made = httpx.HTTPTransport(verify=context, trust_env=False)
    # httpx has no public way to set a network backend. A test that sends a byte at a time notices if this breaks.
    made._pool = httpcore.ConnectionPool(
        ssl_context=context,
        max_connections=100,
        max_keepalive_connections=20,
        keepalive_expiry=5.0,
        network_backend=_Network(deadline),
    )
    return made


@cache
def _tls() -> ssl.SSLContext:
    """One context for all clients: reading the certificates takes longer than many requests."""
    return httpx.create_ssl_context(trust_env=False)


class _Network(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        stream = self._network.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), SLICE):
            self._stream.write(buffer[start : start + SLICE], self._deadline.write(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
