"""The period of a chart: the last 30, 90 or 365 days, chosen in the address."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import ClassVar

from django import forms
from django.utils import timezone
from django.utils.functional import Promise


@dataclass(frozen=True)
class Period:
    """The last days in the team's zone, today included."""

    CHOICES: ClassVar[tuple[int, ...]] = (30, 90, 365)

    days: int
    until: date

    @property
    def since(self) -> date:
        """The first day."""
        return self.until - timedelta(days=self.days - 1)

    @property
    def each(self) -> list[date]:
        """Each day."""
        return [self.since + timedelta(days=at) for at in range(self.days)]

    @property
    def start(self) -> datetime:
        """The first moment."""
        return timezone.make_aware(datetime.combine(self.since, time.min))


@dataclass(frozen=True)
class DaySeries:
    """A number for each day that has one."""

    title: str | Promise
    by_day: Mapping[date, int]


def carried(period: Period, found: Mapping[date, int]) -> dict[date, int]:
    """Each day of the period with the number of that day, or of the last day before it that has one."""
    known = sorted(found.items(), reverse=True)
    numbers = {}
    last: int | None = None
    for day in period.each:
        while known and known[-1][0] <= day:
            last = known.pop()[1]
        if last is not None:
            numbers[day] = last
    return numbers


def summed(parts: Iterable[Mapping[date, int]]) -> dict[date, int]:
    """The sum of each day over the parts that have it."""
    total: dict[date, int] = defaultdict(int)
    for part in parts:
        for day, number in part.items():
            total[day] += number
    return dict(total)


def _period(days: str) -> Period:
    return Period(int(days), timezone.localdate())


class PeriodField(forms.TypedChoiceField):
    """The period of a chart; None if the address names none."""

    def __init__(self) -> None:
        super().__init__(
            choices=[(str(days), str(days)) for days in Period.CHOICES],
            coerce=_period,
            empty_value=None,
            required=False,
            widget=forms.HiddenInput,
        )


class PeriodForm(forms.Form):
    """The period of the chart of a page. A form with filters inherits it."""

    days = PeriodField()

    @property
    def period(self) -> Period | None:
        """The period of the chart, if one was asked for."""
        chosen: Period | None = self.cleaned_data["days"] if self.is_valid() else None
        return chosen
