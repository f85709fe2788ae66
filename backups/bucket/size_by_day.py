"""The size of the stored backups at the end of each day, by environment."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import accumulate
from operator import add
from typing import Any

from django.db.models import BigIntegerField, Case, CharField, F, Func, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Cast, Concat, Greatest, TruncDate

from backups.models import Generation
from kvops.models import Environment, RunningTotal
from kvops.models.charts import SETTLED, YEAR_AGO, quarter
from kvops.web.ranges import DaySeries, Period
from kvops.wording import STEPS

_TOLD = Case(
    When(recipients=[], then=F("bytes")),
    *(When(bytes__lte=step, then=Value(step)) for step in sorted(STEPS)),
    default=F("bytes"),
    output_field=BigIntegerField(),
)
"""The size of a backup. Of an encrypted one it is the step, so that no difference of two days tells a length."""
MOMENTS = {"finished_at": 1, "deleted_at": -1}
"""When the bytes of a backup come, and when they go."""
SERIES = "bytes."
"""With the number of an environment, the series of its totals."""
TOTALS = RunningTotal.objects.filter(series__startswith=SERIES)


def by_day(period: Period, environments: Iterable[Environment]) -> list[DaySeries]:
    """The bytes of the backups that existed at the end of each day."""
    names = {f"{SERIES}{environment.pk}": environment.name for environment in environments}
    totals, end = TOTALS.at(list(names), period.midnights)
    since = [_changed(sign, Q((f"{moment}__gte", end)), TruncDate(moment)) for moment, sign in MOMENTS.items()]
    changes: dict[str, Counter[date]] = defaultdict(Counter)
    for series, day, size in since[0].union(*since[1:], all=True):
        changes[series][max(day, period.since)] += size
    known = [series for series in names if series in changes or any(totals[series])]
    return [DaySeries(names[series], _sizes(totals[series], changes[series], period)) for series in known]


def sum_up() -> None:
    """Sum up the changes of each quarter of an hour anew. The sweep calls it once a day.

    A backup whose last write had to wait gets an earlier moment than that of the write. The next totals have it.
    """
    sums: dict[str, Counter[datetime]] = defaultdict(Counter)
    for moment, sign in MOMENTS.items():
        past = Q((f"{moment}__lt", SETTLED))
        for series, at, size in _changed(sign, past, Greatest(quarter(moment), YEAR_AGO)):
            sums[series][at] += size
    TOTALS.replace(sums)


def _changed(sign: int, when: Q, at: Func) -> QuerySet[Generation, tuple[str, Any, int]]:
    """Series, day or quarter, and the bytes that came, or went."""
    series = Concat(Value(SERIES), Cast("environment", CharField()))
    found = Generation.objects.filter(when).order_by().annotate(series=series, at=at)
    return found.values_list("series", "at").annotate(size=Sum(_TOLD) * sign)


def _sizes(totals: Sequence[int], changes: Mapping[date, int], period: Period) -> dict[date, int]:
    """The bytes at the end of each day: the total, and all changes after the end of the totals."""
    since = accumulate(changes.get(day, 0) for day in period.each)
    return dict(zip(period.each, map(add, totals[1:], since), strict=True))
