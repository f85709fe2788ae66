"""The size of the stored backups at the end of each day, by environment."""

from collections import defaultdict
from datetime import date, timedelta

from django.db.models import BigIntegerField, Case, F, QuerySet, Sum, Value, When
from django.db.models.functions import TruncDate

from backups.models import Generation
from kvops.models import Environment
from kvops.web.ranges import DaySeries, Period
from kvops.wording import STEPS

_TOLD = Case(
    When(recipients=[], then=F("bytes")),
    *(When(bytes__lte=step, then=Value(step)) for step in sorted(STEPS)),
    default=F("bytes"),
    output_field=BigIntegerField(),
)
"""The size of a backup. Of an encrypted one it is the step, so that no difference of two days tells a length."""


def by_day(period: Period) -> list[DaySeries]:
    """The bytes of the backups that existed at the end of each day."""
    changes: dict[int, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for environment, day, size in _changes("finished_at", 1).union(_changes("deleted_at", -1), all=True):
        changes[environment][day] += size
    return [
        DaySeries(environment.name, _running(changes[environment.pk], period))
        for environment in Environment.objects.order_by("order")
        if environment.pk in changes
    ]


def _changes(moment: str, sign: int) -> QuerySet[Generation, tuple[int, date, int]]:
    """The bytes that came, or went, in each day: environment, day and size."""
    found = Generation.objects.order_by().filter(**{f"{moment}__isnull": False}).annotate(day=TruncDate(moment))
    return found.values_list("environment", "day").annotate(size=Sum(_TOLD) * sign)


def _running(changes: dict[date, int], period: Period) -> dict[date, int]:
    total = sum(size for day, size in changes.items() if day < period.since)
    found = {}
    for at in range(period.days):
        day = period.since + timedelta(days=at)
        total += changes.get(day, 0)
        found[day] = total
    return found
