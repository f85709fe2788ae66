"""The team's own API of master data."""

import json
from typing import Any, Self

from tests.fakes.http import Reply, Request, Server


class FakeApi:
    """Answers every GET with `next`: `status`, `body` and `headers`; what was asked is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.next: dict[str, Any] = {}
        self._server = Server(self._reply)

    def __enter__(self) -> Self:
        self.url = f"{self._server.start()}/masters.json"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def answer(self, rows: dict[str, object]) -> None:
        """Answer with arrays of rows."""
        self.next = {"body": json.dumps(rows).encode()}

    def _reply(self, request: Request) -> Reply:
        self.asked.append(request)
        headers = {"Content-Type": "application/json", **self.next.get("headers", {})}
        return Reply(self.next.get("status", 200), self.next.get("body", b""), headers)
