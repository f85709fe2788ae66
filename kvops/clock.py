"""The database's clock: the one clock of leases, approvals and retention."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models.functions import Now

from audit.models import Head
from kvops import timing


def now() -> datetime:
    """The time in Postgres, not frozen within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        found = cursor.fetchone()[0]
    if not isinstance(found, datetime):
        raise TypeError(found)
    return found


def went_back() -> bool:
    """Whether the clock is behind the newest entry of the audit log, that is, was set back."""
    return Head.objects.filter(at__gt=Now() + timedelta(seconds=timing.SKEW)).exists()


def seconds_until(moment: datetime) -> float:
    """Seconds from now to `moment`, negative if it is past."""
    return (moment - now()).total_seconds()
