"""The runs of each day: those that a person started, and those of schedules, of commands and of other runs."""

from django.db.models import Count, Q
from django.db.models.functions import TruncDate
from django.utils.translation import gettext_lazy as _

from kvops.models import Run
from kvops.web.ranges import DaySeries, Period


def by_day(period: Period) -> list[DaySeries]:
    """The number of runs in each day of the period by how they were started."""
    found = Run.objects.filter(created_at__gte=period.start).annotate(day=TruncDate("created_at")).values("day")
    by_person = Count("pk", filter=Q(started_by__isnull=False))
    rows = list(
        found.annotate(by_person=by_person, all=Count("pk")).order_by("day").values_list("day", "by_person", "all")
    )
    return [
        DaySeries(_("Started by a person"), {day: number for day, number, _all in rows}),
        DaySeries(_("Automatic or by a command"), {day: every - number for day, number, every in rows}),
    ]
