"""Heartbeats of `worker` and `sweep`: the overview names the missing one, and `/readyz` to a signed-in person."""

from django.db import connection
from django.db.models.functions import Now

from kvops import timing
from kvops.models import Heartbeat


def beat(name: str) -> None:
    """Note that the process or task `name` is alive, by the database's clock."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=Now())], update_conflicts=True, unique_fields=["name"], update_fields=["at"]
    )


def age(name: str) -> float | None:
    """Seconds since `name` was last alive; None if it never was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - at) FROM kvops_heartbeat WHERE name = %s", [name])
        row = cursor.fetchone()
    return float(row[0]) if row else None


def missing() -> list[str]:
    """One sentence for each process that should run and was not seen for too long."""
    limits = {
        "sweep": timing.CANARY_LATE,
        "worker": timing.CANARY_LATE,
        # While parts of backups are written, no task returns for as long as a part may take.
        "canary": timing.CANARY_LATE + timing.PART,
    }
    ages = {name: age(name) for name in limits}
    names = {"sweep": "The sweep", "worker": "The worker", "canary": "An executed task"}
    return [
        f"{names[name]} was {'never seen' if seen is None else f'last seen {seen:.0f} s ago'}."
        for name, seen in ages.items()
        if seen is None or seen > limits[name]
    ]
