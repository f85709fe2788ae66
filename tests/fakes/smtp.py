"""A fake mail server on a free loopback port: it takes every mail."""

import email
import email.policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from types import TracebackType
from typing import Self


class FakeMail:
    """Takes every mail, and keeps it in the order it came."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process that sends its mail here."""
        return {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(self._server.server_address[1])}

    def to(self, address: str) -> list[str]:
        """The titles of the mails to an address."""
        return [str(mail["Subject"]) for mail in self.taken if mail["To"] == address]


class _Server(ThreadingTCPServer):
    fake: FakeMail
    daemon_threads = True


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self._say("220 fake")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                self._say("354 go on")
                body = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(body, _class=EmailMessage, policy=email.policy.default)
                self.server.fake.taken.append(message)
            self._say("221 bye" if word == b"QUIT" else "250 ok")

    def _say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())
