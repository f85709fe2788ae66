"""A request as a whole ends in time, however slowly a server takes or gives its bytes."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import httpcore
import pytest

from kvops.cloudflare import TransportError
from kvops.cloudflare.writes import KVWriter
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.cloudflare_estate import NS, reader, writer

type Play = Callable[[socket.socket, Event], None]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
TIMEOUT = 0.4
PAUSE = 0.05
"""Between two bytes: much shorter than the timeout, so that each byte by itself is in time."""


@contextmanager
def server(play: Play) -> Iterator[str]:
    """A server that treats its one connection so."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                play(connection, over)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def drips(data: bytes, *, at_once: bytes = b"") -> Play:
    """Answer a byte at a time."""

    def play(connection: socket.socket, over: Event) -> None:
        connection.recv(65536)
        connection.sendall(at_once)
        for byte in data * 100:
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
        assert TIMEOUT <= time.monotonic() - begun < 2 * TIMEOUT


def test_a_request_that_is_taken_too_slowly_is_given_up_with_an_unknown_outcome() -> None:
    fake = FakeCloudflare()
    begun = time.monotonic()
    with server(sips) as fake.base_url, writer(fake, timeout=TIMEOUT) as kv:
        outcome = kv.bulk_delete(NS, many_names())
        assert time.monotonic() - begun < 2 * TIMEOUT
    assert (len(outcome.unknown), "WriteTimeout" in outcome.problem) == (10_000, True)


def many_names() -> list[str]:
    """More than the buffers of a connection hold."""
    return [f"{number:06d}" + "x" * 500 for number in range(10_000)]


def test_the_next_request_has_its_own_time() -> None:
    with FakeCloudflare() as fake:
        fake.add_token("writes", account="a" * 32, permission="write")
        fake.add_namespace("a" * 32, NS, "qa-settings")
        with writer(fake, timeout=TIMEOUT) as kv:
            assert sent(kv)
            time.sleep(TIMEOUT)
            assert sent(kv)


def test_nothing_of_a_request_is_sent_when_connecting_took_longer_than_it_may_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeCloudflare() as fake:
        fake.add_token("writes", account="a" * 32, permission="write")
        fake.add_namespace("a" * 32, NS, "qa-settings")
        connect = httpcore.SyncBackend.connect_tcp

        def slowly(*args: Any, **options: Any) -> httpcore.NetworkStream:
            time.sleep(PAUSE)
            return connect(*args, **options)

        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", slowly)
        with writer(fake) as kv:
            with pytest.raises(TransportError, match="connecting took so long") as refused:
                kv.bulk_delete(NS, ["k"], begin_by=time.monotonic() + PAUSE / 2)
            assert (refused.value.outcome_unknown, fake.calls("bulk_delete")) == (False, [])
            assert kv.bulk_delete(NS, ["k"], begin_by=time.monotonic() + 60).successful_count == 1


def test_when_a_request_began_is_known() -> None:
    with FakeCloudflare() as fake:
        fake.add_token("writes", account="a" * 32, permission="write")
        fake.add_namespace("a" * 32, NS, "qa-settings")
        fake.latency = TIMEOUT
        with writer(fake) as kv:
            before = time.monotonic()
            assert sent(kv)
            assert before < kv.begun < time.monotonic() - TIMEOUT


def sent(kv: KVWriter) -> bool:
    return kv.bulk_delete(NS, ["k"]).successful_count == 1
