"""The work of schedules: the backups that families expect, and their verification."""

from datetime import timedelta

from django.db.models.functions import Now

from audit import log
from backups.generations import start as generation_start
from backups.models import Generation
from kvops.models import Environment, Family, Key, Namespace
from kvops.schedules.jobs import Begun

SLACK = timedelta(hours=1)
"""A backup is due this long before its interval is over; otherwise each day's would start a little later."""


def back_up_due(environment: Environment, actor: log.Actor) -> Begun:
    """Start a backup of each family that expects one, has keys, and has no backup younger than its interval."""
    begun = Begun()
    for namespace in environment.namespaces.select_related("environment").order_by("binding"):
        for family in Family.objects.filter(binding=namespace.binding, interval_hours__gt=0).order_by("pattern"):
            if not Key.objects.filter(namespace=namespace, family=family).exists() or _young(namespace, family):
                continue
            with begun.or_refused():
                made = generation_start.create_backup(namespace, prefixes=[family.pattern], actor=actor)
                begun.runs.append(made.run)
    return begun


def _young(namespace: Namespace, family: Family) -> bool:
    old = Now() - timedelta(hours=family.interval_hours) + SLACK
    made = Generation.objects.whole().here().filter(purpose=Generation.Purpose.ROUTINE, namespace=namespace)
    return made.filter(prefixes=[family.pattern], started_at__gt=old).exists()


def verify_newest(environment: Environment, actor: log.Actor) -> Begun:
    """Verify the newest routine backups again: R2 may not hold today what it accepted."""
    begun = Begun()
    for generation in newest(environment):
        with begun.or_refused():
            begun.runs.append(generation_start.create_verification(generation, actor=actor))
    return begun


def newest(environment: Environment) -> list[Generation]:
    """The newest complete routine backup of each namespace and set of prefixes in the current bucket."""
    routine = Generation.objects.whole().here().filter(purpose=Generation.Purpose.ROUTINE, environment=environment)
    return list(routine.newest_of_each().select_related("environment", "namespace__environment"))
