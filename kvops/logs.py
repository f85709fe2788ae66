"""The format of log lines: JSON with the ids of request, run and person; plain lines on a terminal. Times are UTC.

An exception is logged with its type and frames, without its message. The message may quote a value: a value of KV or
a row of the database. For the same reason no line has the extra attributes of a record, such as a request.
"""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

type Id = str | int | None
_ids: ContextVar[Mapping[str, Id | Callable[[], Id]]] = ContextVar("ids", default=MappingProxyType({}))
ACCESS = ("method", "path", "status", "milliseconds", "address")
"""The extra attributes that a line of the access log has."""


@contextmanager
def bound(**more: Id | Callable[[], Id]) -> Iterator[None]:
    """Put these ids into each line that is logged in this context; a function is asked when a line is written."""
    token = _ids.set({**_ids.get(), **more})
    try:
        yield
    finally:
        _ids.reset(token)


def ids() -> dict[str, Id]:
    """The ids of the current context that are known."""
    found = {name: one() if callable(one) else one for name, one in _ids.get().items()}
    return {name: value for name, value in found.items() if value is not None}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(error: BaseException | None) -> str:
    """The frames and types of the exception and of its causes, the first cause first."""
    told: list[str] = []
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nthen\n".join(reversed(told))


class Formatter(logging.Formatter):
    """Plain lines, for a terminal."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """The time in UTC."""
        return _time(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the ids at its end."""
        record.exc_text = None  # another handler may have put the message there
        line = super().format(record)
        mine = " ".join(f"{name}={value}" for name, value in ids().items())
        first, newline, rest = line.partition("\n")
        return f"{first} [{mine}]{newline}{rest}" if mine else line

    def formatException(  # noqa: N802  (its name there)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The types and frames of the exception."""
        return _exception(ei[1])


class JsonLines(JsonFormatter):
    """One line of JSON for each record."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill in exactly our fields."""
        log_data |= {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.message,
            **ids(),
        }
        if record.name == "kvops.access":
            log_data |= {name: vars(record).get(name) for name in ACCESS}
        if record.exc_info:
            log_data["exception"] = _exception(record.exc_info[1])

    def formatException(self, ei: object) -> str:  # noqa: N802  (its name there)
        """Nothing: `add_fields` has the exception."""
        return ""


def formatter() -> logging.Formatter:
    """The formatter of this process: plain on a terminal, else JSON."""
    if sys.stderr.isatty():
        return Formatter("{asctime} {levelname} {name} {message}", style="{")
    return JsonLines(json_ensure_ascii=False)


class QueueFilter(logging.Filter):
    """django-q quotes a task's exception in its message. Only the frames are kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the message of a failed task."""
        if record.levelno >= logging.ERROR:
            message = record.getMessage()
            frames = re.findall(r'^  File "[^"\n]+", line \d+, in \S+$', message, re.MULTILINE)
            record.msg, record.args = "\n".join([message.partition(" - ")[0], *frames]), ()
        return True


def catch_all() -> None:
    """Write an exception that nobody caught in our format, instead of Python's, which quotes its message."""
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), trace)
        return
    # Not through a logger: logging may not be set up yet, or may be what failed.
    record = logging.LogRecord("kvops", logging.CRITICAL, __file__, 0, "The process ended.", (), (kind, error, trace))
    sys.stderr.write(f"{formatter().format(record)}\n")
