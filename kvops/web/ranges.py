"""The period of a chart: the last 30, 90 or 365 days, chosen in the address."""

from collections.abc import Mapping
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
    def start(self) -> datetime:
        """The first moment."""
        return timezone.make_aware(datetime.combine(self.since, time.min))


@dataclass(frozen=True)
class DaySeries:
    """A number for each day that has one."""

    title: str | Promise
    by_day: Mapping[date, int]


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


def _period(days: str) -> Period:
    return Period(int(days), timezone.localdate())
