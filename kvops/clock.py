"""The database's clock: the one clock of leases, approvals and retention."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The time in Postgres, not frozen within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found = cursor.fetchone()[0]
    if not isinstance(found, datetime):
        raise TypeError(found)
    return found


def seconds_until(moment: datetime) -> float:
    """Seconds from now to `moment`, negative when it is past."""
    return (moment - now()).total_seconds()
