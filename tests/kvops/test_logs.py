"""Log lines say where an exception came from, and nothing that it says."""

import logging
import secrets
import sys

from kvops.logs import Formatter

WORDS = secrets.token_hex(8)


def told() -> str:
    """The lines about an exception whose words hold a secret, as those of its cause do."""
    try:
        try:
            raise KeyError(WORDS)
        except KeyError as cause:
            raise ValueError(WORDS) from cause
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "Run %s failed.", (7,), sys.exc_info())
    return Formatter().format(record)


def test_an_exception_is_told_by_its_types_and_frames_alone() -> None:
    text = told()
    assert WORDS not in text
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("Run 7 failed.", "builtins.ValueError")
    assert lines.index("builtins.KeyError") < lines.index("then")
    assert sum("test_logs.py" in line for line in lines) == 2
