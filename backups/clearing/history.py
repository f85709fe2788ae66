"""Keys deleted by hand against keys deleted by a schedule (policy 7b: fewer by hand)."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Sum
from django.db.models.functions import TruncMonth
from django.utils import timezone

from backups.models import CleanupStage
from kvops import clock

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
