"""Heartbeats of `worker` and `sweep`: the overview, `/readyz` and `/healthz/work` name the missing one."""

from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from kvops import timing
from kvops.models import Heartbeat


def beat(name: str) -> None:
    """Note that the process or task `name` is alive, by the database's clock."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=Now())], update_conflicts=True, unique_fields=["name"], update_fields=["at"]
    )


def ages() -> dict[str, float]:
    """Seconds since each process or task was last alive, by its name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, extract(epoch FROM clock_timestamp() - at) FROM kvops_heartbeat")
        return {name: float(seconds) for name, seconds in cursor.fetchall()}


def age(name: str) -> float | None:
    """Seconds since `name` was last alive; None if it never was."""
    return ages().get(name)


def claim(name: str, every: float) -> bool:
    """Whether `name` may act now: the last to act did so more than `every` seconds ago. Only one caller gets it."""
    late = Heartbeat.objects.filter(name=name, at__lt=Now() - timedelta(seconds=every))
    return bool(late.update(at=Now())) or Heartbeat.objects.get_or_create(name=name, defaults={"at": Now()})[1]


def worker_is_gone() -> bool:
    """Whether the worker, or its last executed task, was seen so long ago that people are told."""
    seen = ages()
    worker, canary = seen.get("worker"), seen.get("canary")
    return worker is None or worker > timing.OUTAGE or canary is None or canary > timing.OUTAGE + timing.PART


def missing() -> list[str]:
    """One sentence for each process that should run and was not seen for too long."""
    limits = {
        "sweep": timing.CANARY_LATE,
        "worker": timing.CANARY_LATE,
        # While parts of backups are written, no task returns for as long as a part may take.
        "canary": timing.CANARY_LATE + timing.PART,
    }
    found = ages()
    names = {"sweep": "The sweep", "worker": "The worker", "canary": "An executed task"}
    return [
        f"{names[name]} was {'never seen' if seen is None else f'last seen {seen:.0f} s ago'}."
        for name, seen in ((name, found.get(name)) for name in limits)
        if seen is None or seen > limits[name]
    ]
