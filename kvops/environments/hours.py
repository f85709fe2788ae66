"""The hours in which a deletion may start in an environment, in the team's time zone.

`hours = "22:00-05:00"` goes past midnight; the day is the one on which it begins. A run that began inside the hours
goes on.
"""

from datetime import datetime, time, timedelta
from itertools import count

from django.conf import settings
from django.utils import timezone

from kvops.models import Environment

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def next_opening(environment: Environment, now: datetime) -> datetime | None:
    """The next time when a deletion may start; None if it may start now."""
    if not environment.hours:
        return None
    begin, end = map(time.fromisoformat, environment.hours.split("-"))
    days = environment.days.split(",") if environment.days else DAYS
    zone = timezone.get_default_timezone()
    today = now.astimezone(zone).date()
    for ahead in count(-1):
        day = today + timedelta(days=ahead)
        if DAYS[day.weekday()] not in days:
            continue
        opens = timezone.make_aware(datetime.combine(day, begin), zone)
        closes = timezone.make_aware(datetime.combine(day + timedelta(days=end < begin), end), zone)
        if opens <= now < closes:
            return None
        if opens > now:
            return opens
    raise AssertionError


def shown(environment: Environment) -> dict[str, str]:
    """The hours as evidence; without hours empty texts."""
    zone = settings.TIME_ZONE if environment.hours else ""
    return {"hours": environment.hours, "days": environment.days, "time_zone": zone}
