"""The format of log lines: an exception is logged with its type and frames, without its message.

The message may quote a value: a value of KV or a row of the database.
"""

import logging
import traceback
from types import TracebackType


class Formatter(logging.Formatter):
    """Like the standard formatter, without the messages of exceptions."""

    def formatException(  # noqa: N802  (its name there)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """The frames and types of the exception and of its causes, the first cause first."""
        told: list[str] = []
        error = ei[1]
        while error is not None:
            frames = "".join(traceback.format_tb(error.__traceback__))
            told.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nthen\n".join(reversed(told))
