"""The counts of attempts to sign in, one caller at a time.

allauth takes its lock for a second and then answers 429, as if there had been too many attempts. On a busy machine
that hits correct passwords. Here a caller waits until the one before has counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from allauth.core.internal import ratelimit
from django.db import connection
from django.db.transaction import atomic


def wait_in_line() -> None:
    """Let allauth count with our lock, in this process."""
    ratelimit.cache_lock = _line


@contextmanager
def _line(key: str) -> Iterator[bool]:
    """Wait for the lock of a count, and hold it until what is counted is stored.

    Raises OperationalError if the wait takes longer than `lock_timeout`.
    """
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        yield True
