"""The exceptions that Django raises while the database is away. All of them may pass, so work is tried again."""

import logging
import threading
import time
from http import HTTPStatus

from django.db import InterfaceError, InternalError, OperationalError

AWAY = (OperationalError, InterfaceError, InternalError)
"""InternalError: the server ended the connection, because this process was paused within a transaction."""
_OF_CONNECTIONS = ("08", "53300", "57P")
"""How a SQLSTATE begins if the server ended or refused a connection. Without one, nothing answered."""
ONCE = 60.0
"""Seconds for which a cause is not told again."""


def cause_of(record: logging.LogRecord) -> str:
    """The driver's words for a connection that was lost or refused, if a line tells of one; else empty.

    They name the place of the server. No statement was at work, so they quote no row.
    """
    args = record.args if isinstance(record.args, tuple) else ()
    told = (record.exc_info or (None, None))[1], *args
    error = next((one for one in told if isinstance(one, AWAY)), None)
    if error is None:
        return ""
    state = getattr(error.__cause__, "sqlstate", None)
    lost = state.startswith(_OF_CONNECTIONS) if state else not isinstance(error, InternalError)
    return " ".join(str(error).split())[:300] if lost else ""


class OutageFilter(logging.Filter):
    """While the database is away, lets one line a minute and cause pass, without frames: a page asks each second."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        """The record itself, or, of a lost connection, a short line or nothing."""
        cause, now = cause_of(record), time.monotonic()
        with self._lock:
            self._told = {told: at for told, at in self._told.items() if now - at < ONCE}
            if not cause:
                # A probe was answered with 503. The access log has it.
                return not (self._told and getattr(record, "status_code", 0) == HTTPStatus.SERVICE_UNAVAILABLE)
            if cause in self._told:
                return False
            self._told[cause] = now
        words = "The database does not answer: %s. This is said once a minute."
        return logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, words, (cause,), None)
