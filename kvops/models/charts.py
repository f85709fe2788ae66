"""Running totals of the past, so that a chart of a year need not count every row of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from django.db import connection, models
from django.db.models import DateTimeField, F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.db.transaction import atomic

QUARTER = timedelta(minutes=15)
"""The offset of each zone from UTC is a multiple of it today, so every day of every reader ends with a quarter."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 5_000


def quarter(moment: str | Combinable) -> Func:
    """The beginning of the quarter of an hour in which a moment lies."""
    at = F(moment) if isinstance(moment, str) else moment
    return Func(Value(QUARTER), at, Value(EPOCH), function="date_bin", output_field=DateTimeField())


SETTLED = quarter(Now() - timedelta(hours=1))
"""Rows with an earlier moment are committed, so they can be summed up. A transaction is never an hour long."""
YEAR_AGO = quarter(Now() - timedelta(days=366))
"""No chart has earlier days."""


class RunningTotalQuerySet(models.QuerySet["RunningTotal"]):
    """Queries for running totals."""

    def at(self, series: Sequence[str], moments: Sequence[datetime]) -> tuple[dict[str, list[int]], datetime]:
        """The totals of each series at each moment, and the end: later rows are in no total.

        The last moment is not past.
        """
        found: dict[str, list[int]] = {one: [] for one in series}
        end = EPOCH
        with connection.cursor() as cursor:
            cursor.execute(_AT, [list(series), list(moments)])
            for one, until, total in cursor.fetchall():
                found[one].append(total or 0)
                end = max(end, until or EPOCH)
        return found, end

    def replace(self, sums: Mapping[str, Mapping[datetime, int]]) -> None:
        """Put others in the place of these totals: of each series, the sums of its quarters."""
        with atomic():
            self.delete()
            for series, numbers in sums.items():
                totals = zip(sorted(numbers), accumulate(numbers[at] for at in sorted(numbers)), strict=True)
                rows = (RunningTotal(series=series, until=at + QUARTER, total=total) for at, total in totals)
                self.bulk_create(rows, batch_size=_AT_ONCE)


class RunningTotal(models.Model):
    """The total of a chart's series over all that was before `until`, the end of a quarter of an hour.

    A quarter in which nothing happened has no row: the total before it holds on.
    """

    series = models.CharField(max_length=40)
    until = models.DateTimeField()
    total = models.BigIntegerField()

    objects = RunningTotalQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["series", "until"], name="running_total_once")]

    def __str__(self) -> str:
        return f"{self.series} before {self.until:%Y-%m-%d %H:%M}: {self.total}"


_AT = """
SELECT series.name, last.until, last.total
FROM unnest(%s::text[]) AS series (name) CROSS JOIN unnest(%s::timestamptz[]) AS moment (at)
LEFT JOIN LATERAL (
    SELECT until, total FROM kvops_runningtotal
    WHERE series = series.name AND until <= moment.at ORDER BY until DESC LIMIT 1
) AS last ON true
ORDER BY series.name, moment.at
"""
