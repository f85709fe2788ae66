"""A small HTTP server on a free loopback port, for fakes."""

import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Lock, Thread
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came over the wire: the path undecoded, the query apart."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; status 0 drops the connection without one, after `hold` seconds."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: float = 0.0


class Server:
    """Answers every request through `answer`, each connection in a thread of its own."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.errors: list[Exception] = []
        self._answer = answer
        self._stopping = Event()
        self._open: set[socket.socket] = set()
        self._lock = Lock()

    def start(self, port: int = 0) -> str:
        """Serve; the address comes back as http://127.0.0.1:<port>."""
        self._listener = _FakeListener(self, port)
        self._listener.start()
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def stop(self) -> None:
        """Stop, closing what is open; raises what went wrong inside the fake."""
        self._stopping.set()
        self._listener.stop()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        self._listener.server_close()
        if self.errors:
            raise ExceptionGroup("the fake itself failed", self.errors)

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        if seconds:
            self._stopping.wait(seconds)

    def reply_to(self, request: Request) -> Reply:
        """The answer to a request."""
        return self._answer(request)

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster


class Listener(ThreadingHTTPServer):
    """Takes connections in a thread of its own until it is stopped, which waits for no turn of a loop."""

    taking: ClassVar[set["Listener"]] = set()
    """The listeners of this process that take connections."""
    _stopping = False

    def server_bind(self) -> None:
        """At the port that is wished for, or at another one if somebody else is there."""
        try:
            super().server_bind()
        except OSError:
            self.server_address = ("127.0.0.1", 0)
            super().server_bind()

    def start(self) -> None:
        """Take connections."""
        self._stopping = False
        self._talking: set[socket.socket] = set()
        self._said = Condition()
        self.taking.add(self)
        self._thread = Thread(target=self._take)
        self._thread.start()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Remember the connection, and answer in a thread of its own."""
        self._talking.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Forget the connection."""
        super().shutdown_request(request)
        with self._said:
            self._talking.discard(request)
            self._said.notify_all()

    def pause(self) -> None:
        """Take no connection until the next start, and end those that are open. Then no thread holds a lock."""
        self.stop()
        for connection in list(self._talking):
            _shut(connection)
        with self._said:
            self._said.wait_for(lambda: not self._talking)

    def _take(self) -> None:
        while True:
            connection, address = self.get_request()
            if self._stopping:
                connection.close()
                return
            self.process_request(connection, address)

    def stop(self) -> None:
        """Take no more of them."""
        self.taking.discard(self)
        self._stopping = True
        socket.create_connection(("127.0.0.1", self.server_port)).close()
        self._thread.join()


class _FakeListener(Listener):
    daemon_threads = False  # so that stopping waits for them

    def __init__(self, server: Server, port: int) -> None:
        self.fake = server
        super().__init__(("127.0.0.1", port), _FakeHandler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Note what broke; a client that hangs up is part of the play."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.fake.errors.append(error)


class _FakeHandler(BaseHTTPRequestHandler):
    server: _FakeListener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet, or every answer costs 40 ms

    def setup(self) -> None:
        super().setup()
        self.server.fake.opened(self.connection)

    def finish(self) -> None:
        self.server.fake.closed(self.connection)
        super().finish()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path, _, query = self.path.partition("?")
        reply = self.server.fake.reply_to(Request(self.command, path, query, self.headers, body))
        self.server.fake.pause(reply.hold)
        if not reply.status:
            linger = struct.pack("ii", 1, 0)  # a reset, not an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        self.send_header("Date", reply.headers.pop("Date", self.date_time_string()))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: the journal is the record."""
