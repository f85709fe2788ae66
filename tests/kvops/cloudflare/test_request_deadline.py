"""A request as a whole ends in time, however slowly a server takes or gives its bytes."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import httpcore
import pytest
from httpcore._backends.sync import SyncStream

from kvops.cloudflare import KvEntry, TooLate, TransportError
from kvops.cloudflare.writes import KVWriter
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.cloudflare.estate import NS, reader, writer

type Play = Callable[[socket.socket, Event], None]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
TIMEOUT = 0.4
PAUSE = 0.05
"""Between two bytes: much shorter than the timeout, so that each byte by itself is in time."""


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with FakeCloudflare() as fake:
        fake.add_token("writes", account="a" * 32, permission="write")
        fake.add_namespace("a" * 32, NS, "qa-settings")
        yield fake


@contextmanager
def server(play: Play) -> Iterator[str]:
    """A server that treats its one connection so."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                play(connection, over)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:  # a test that fails ends too
            over.set()
            thread.join(10.0)


def drips(data: bytes, *, at_once: bytes = b"") -> Play:
    """Answer a byte at a time, for longer than a test may last: only a deadline of the whole request ends it."""

    def play(connection: socket.socket, over: Event) -> None:
        connection.recv(65536)
        connection.sendall(at_once)
        for byte in data * 100_000:
            if over.wait(PAUSE):
                return
            connection.sendall(bytes([byte]))

    return play


def sips(connection: socket.socket, over: Event) -> None:
    """Take the request a little at a time."""
    while not over.wait(PAUSE):
        connection.recv(4096)


@pytest.mark.parametrize("play", [drips(HEAD), drips(b"x", at_once=HEAD)], ids=["head", "body"])
def test_an_answer_that_drips_is_given_up_when_the_whole_request_took_too_long(play: Play) -> None:
    begun = time.monotonic()
    with server(play) as url, reader(FakeCloudflare(), base_url=url, timeout=TIMEOUT) as cf:
        with pytest.raises(TransportError, match="ReadTimeout"):
            cf._transport._once(*cf._transport._build("GET", f"/storage/kv/namespaces/{NS}", {}, None, {}))
        assert time.monotonic() - begun >= TIMEOUT


def test_a_request_that_is_taken_too_slowly_is_given_up_with_an_unknown_outcome() -> None:
    fake = FakeCloudflare()
    with server(sips) as fake.base_url, writer(fake, timeout=TIMEOUT) as kv:
        outcome = kv.bulk_delete(NS, many_names())
    assert (len(outcome.unknown), "WriteTimeout" in str(outcome.problem)) == (10_000, True)


def many_names() -> list[str]:
    """More than the buffers of a connection hold."""
    return [f"{number:06d}" + "x" * 500 for number in range(10_000)]


def test_the_next_request_has_its_own_time(fake: FakeCloudflare) -> None:
    with writer(fake, timeout=2.0) as kv:
        assert sent(kv)
        time.sleep(2.0)
        assert sent(kv)


def test_nothing_is_sent_when_connecting_took_longer_than_what_it_relies_on_is_good_for(
    fake: FakeCloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = httpcore.SyncBackend.connect_tcp

    def slowly(*args: Any, **options: Any) -> httpcore.NetworkStream:
        time.sleep(PAUSE)
        return connect(*args, **options)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", slowly)
    with writer(fake) as kv:
        with pytest.raises(TooLate) as refused:
            kv.bulk_delete(NS, ["k"], until=time.monotonic() + PAUSE / 2)
        assert (refused.value.outcome_unknown, fake.calls("bulk_delete")) == (False, [])
        assert kv.bulk_delete(NS, ["k"], until=time.monotonic() + 60).successful_count == 1


def test_a_delete_whose_end_would_come_too_late_is_broken_off_with_an_unknown_outcome() -> None:
    fake, names = FakeCloudflare(), many_names()
    with server(sips) as fake.base_url, writer(fake, timeout=60.0) as kv:
        begun = time.monotonic()
        outcome = kv.bulk_delete(NS, names, until=begun + 2 * TIMEOUT)
        assert time.monotonic() - begun < 60.0  # the minute that a whole request has
    assert (len(outcome.unknown), "WriteTimeout" in str(outcome.problem)) == (10_000, True)


def test_a_write_that_began_in_time_may_end_later(fake: FakeCloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    write, entry = SyncStream.write, KvEntry("k", b"x" * 300_000, None, None)
    until = time.monotonic() + 1.0

    def slowly(*args: Any, **options: Any) -> None:
        time.sleep(max(until - time.monotonic(), 0.0))
        write(*args, **options)

    monkeypatch.setattr(SyncStream, "write", slowly)
    with writer(fake, timeout=60.0) as kv:
        assert kv.put_value(NS, entry, until=until).successful_count == 1


def test_when_the_end_of_a_request_was_written_is_known(fake: FakeCloudflare) -> None:
    fake.latency = TIMEOUT
    with writer(fake) as kv:
        before = time.monotonic()
        assert sent(kv)
        assert before < kv.written_at < time.monotonic() - TIMEOUT


def sent(kv: KVWriter) -> bool:
    return kv.bulk_delete(NS, ["k"]).successful_count == 1
