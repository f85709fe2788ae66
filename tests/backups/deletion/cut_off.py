"""A writer that cannot be connected, while everything can be read: what it is told never leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from kvops.cloudflare.writes import KVWriter


@contextmanager
def writers() -> Iterator[None]:
    """Within this nothing answers where they connect to."""
    real = KVWriter.__init__

    def elsewhere(self: KVWriter, **reach: Any) -> None:
        real(self, **{**reach, "base_url": "http://127.0.0.1:9"})

    with patch.object(KVWriter, "__init__", elsewhere):
        yield
