"""Keys deleted by hand against keys deleted by a schedule (policy 7b: fewer by hand)."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Sum
from django.db.models.functions import TruncDate, TruncMonth
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from backups.models import CleanupStage
from kvops import clock
from kvops.web.ranges import DaySeries, Period

MONTHS = 12


@dataclass(frozen=True)
class MonthOfDeletions:
    """The keys that were proven deleted in a month: in clean-ups that people asked for, and in scheduled rounds."""

    month: date
    by_hand: int
    scheduled: int

    @property
    def percent(self) -> int:
        """The part that was scheduled, in percent."""
        total = self.by_hand + self.scheduled
        return round(self.scheduled * 100 / total) if total else 0


def by_month() -> list[MonthOfDeletions]:
    """The last months with a deletion, oldest first, at most twelve."""
    since = timezone.localdate(clock.now()) - timedelta(days=31 * MONTHS)
    stages = CleanupStage.objects.filter(second_listing_at__date__gte=since, deleted__gt=0)
    rows = stages.annotate(month=TruncMonth("second_listing_at")).values_list("month", "scheduled")
    found: dict[date, dict[bool, int]] = {}
    for month, scheduled, keys in rows.annotate(keys=Sum("deleted")).order_by("month"):
        found.setdefault(timezone.localtime(month).date(), {})[scheduled] = keys
    return [
        MonthOfDeletions(month, keys.get(False, 0), keys.get(True, 0)) for month, keys in list(found.items())[-MONTHS:]
    ]


def by_day(period: Period) -> list[DaySeries]:
    """The keys that were proven deleted on each day: by hand, and by a schedule."""
    stages = CleanupStage.objects.filter(second_listing_at__gte=period.start, deleted__gt=0)
    rows = stages.annotate(day=TruncDate("second_listing_at")).values_list("scheduled", "day")
    found: dict[bool, dict[date, int]] = {False: {}, True: {}}
    for scheduled, day, keys in rows.annotate(keys=Sum("deleted")).order_by("day"):
        found[scheduled][day] = keys
    return [DaySeries(_("By hand"), found[False]), DaySeries(_("By a schedule"), found[True])]
