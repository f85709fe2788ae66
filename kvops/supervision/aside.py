"""Calls to other services in a thread of their own, so that a round of the sweep never waits for one."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

logger = logging.getLogger(__name__)


class Aside:
    """One call at a time. The thread never touches the database and does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: Thread | None = None
        self._outcomes: SimpleQueue[bool] = SimpleQueue()

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, call: Callable[[], bool]) -> None:
        """Begin a call, which returns whether it worked. Only if none is under way."""
        self._thread = Thread(target=self._run, args=(call,), name=self._name, daemon=True)
        self._thread.start()

    def outcome(self) -> bool | None:
        """The result of the last call, once; None while there is none."""
        try:
            return self._outcomes.get_nowait()
        except Empty:
            return None

    def _run(self, call: Callable[[], bool]) -> None:
        worked = False
        try:
            worked = call()
        except Exception:
            logger.exception("The %s failed.", self._name)
        finally:
            self._outcomes.put(worked)
