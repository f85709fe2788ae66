"""A fake of Slack's incoming webhooks: what was posted where, and a script of what goes wrong."""

import json
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.http import Reply, Request, Server

TAKEN = Reply(200, b"ok")


@dataclass
class FakeSlack:
    """Takes every message, unless `down` or something in `script` says otherwise.

    A reply in `script` answers one request; with status 200 the message was taken, whether the answer arrives or not.
    """

    down: Reply | None = None
    script: deque[Reply] = field(default_factory=deque)
    taken: list[dict[str, object]] = field(default_factory=list)
    asked: int = 0

    def __enter__(self) -> Self:
        self._server = Server(self._answer)
        self.base_url = self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def webhook(self) -> str:
        """The address to post to; a secret."""
        return f"{self.base_url}/services/T0/B0/webhook-secret"

    @property
    def texts(self) -> list[str]:
        """What was taken, in the order it came."""
        return [str(one["text"]) for one in self.taken]

    def lose_the_answer(self) -> None:
        """Take the next message, and drop the connection."""
        self.script.append(Reply(0))

    def _answer(self, request: Request) -> Reply:
        self.asked += 1
        reply = self.script.popleft() if self.script else self.down or TAKEN
        if reply.status in {0, 200}:
            self.taken.append(json.loads(request.body))
        return reply
