"""The runs of each day: those that a person started, and those of schedules, of commands and of other runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django.db.models import Case, CharField, Count, Func, QuerySet, Value, When
from django.db.models.functions import TruncDate
from django.utils.translation import gettext_lazy as _

from kvops.models import Run, RunningTotal
from kvops.models.charts import SETTLED, YEAR_AGO, quarter
from kvops.web.ranges import DaySeries, Period

CREATED = "created_at"
BY_PERSON, AUTOMATIC = SERIES = "runs.by_person", "runs.automatic"
TOTALS = RunningTotal.objects.filter(series__in=SERIES)


def by_day(period: Period) -> list[DaySeries]:
    """The number of runs in each day of the period by how they were started."""
    totals, end = TOTALS.at(SERIES, period.midnights)
    since = {series: Counter[date]() for series in SERIES}
    for series, day, number in _counted(Run.objects.filter(created_at__gte=max(period.start, end)), TruncDate(CREATED)):
        since[series][day] += number
    titles = {BY_PERSON: _("Started by a person"), AUTOMATIC: _("Automatic or by a command")}
    return [DaySeries(title, _numbers(totals[series], since[series], period)) for series, title in titles.items()]


def sum_up() -> None:
    """Count the runs of each quarter of an hour of the past year anew. The sweep calls it once a day."""
    past = Run.objects.filter(created_at__gte=YEAR_AGO, created_at__lt=SETTLED)
    sums = {series: dict[datetime, int]() for series in SERIES}
    for series, at, number in _counted(past, quarter(CREATED)):
        sums[series][at] = number
    TOTALS.replace(sums)


def _counted(runs: QuerySet[Run], at: Func) -> QuerySet[Run, tuple[str, Any, int]]:
    """Series, day or quarter, and number of runs."""
    series = Case(When(started_by=None, then=Value(AUTOMATIC)), default=Value(BY_PERSON), output_field=CharField())
    return runs.order_by().annotate(series=series, at=at).values_list("series", "at").annotate(number=Count("pk"))


def _numbers(totals: Sequence[int], since: Mapping[date, int], period: Period) -> dict[date, int]:
    """The number of each day that has one: the growth of the total, and the runs after the end of the totals."""
    days = zip(period.each, totals, totals[1:], strict=False)
    return {day: number for day, before, after in days if (number := after - before + since[day])}
