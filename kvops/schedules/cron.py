"""The due times of a cron expression, and the expression in words.

Due times are wall-clock times of the schedule's zone. A time that does not exist, because clocks are put forward, is
due at that moment. A time that exists twice, because clocks are put back, is due the first time. So each due time is
due exactly once, and in order.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterError, croniter
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from kvops.wording import comma, say

_NAMES = "mon tue wed thu fri sat sun jan feb mar apr may jun jul aug sep oct nov dec".replace(" ", "|")
_FIELD = re.compile(rf"(?:[0-9*/,-]|{_NAMES})+", re.IGNORECASE)
"""The syntax of every cron. croniter also takes seconds, random values and second Mondays; `words` cannot say them."""
_MOST_TIMES = 6
_LOOKED_AT = 300
"""Due times that are compared with each other: all of a day, if they are five minutes apart."""
_ALL = ["*"]


class NotCron(Exception):
    """The expression or the zone cannot be used; the message gives the valid form."""


def insist_cron(expression: str, zone: str) -> None:
    """Raise NotCron unless the expression has five fields and is due some day, and the zone exists."""
    try:
        fields = expression.split()
        if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields):
            raise CroniterError(expression)
        croniter(expression, datetime(2026, 1, 1)).get_next(datetime)  # noqa: DTZ001 - a clock on a wall
    except (CroniterError, ValueError) as error:
        sentence = gettext_lazy(
            "“%(text)s” is not five fields of cron (minute hour day month weekday), or is never due."
        )
        raise NotCron(say(sentence, text=expression)) from error
    if zone not in available_timezones():
        raise NotCron(say(gettext_lazy("“%(zone)s” is not a time zone; one is called Asia/Tokyo."), zone=zone))


def insist_apart(expression: str, least: timedelta) -> None:
    """Raise NotCron if two due times of a valid expression, as a clock on a wall shows them, lie closer together."""
    if _shortest(expression) < least:
        sentence = gettext_lazy(
            "“%(text)s” is due too often: this job takes at least %(minutes)s minutes between two starts."
        )
        raise NotCron(say(sentence, text=expression, minutes=least // timedelta(minutes=1)))


@cache
def _shortest(expression: str) -> timedelta:
    """The shortest time between two due times."""
    walls = croniter(expression, datetime(2026, 1, 1))  # noqa: DTZ001 - a clock on a wall
    due = [walls.get_next(datetime) for _ in range(_LOOKED_AT)]
    shortest: timedelta = min(after - before for before, after in pairwise(due))
    return shortest


def following(expression: str, zone: str, after: datetime) -> datetime:
    """The first due time after a moment, in UTC."""
    where = ZoneInfo(zone)
    walls = croniter(expression, after.astimezone(where).replace(tzinfo=None))
    while (moment := _moment(walls.get_next(datetime), where)) <= after:
        pass  # a wall-clock time that was due when it first occurred
    return moment


def times(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """The endless due times after a moment."""
    while True:
        yield (after := following(expression, zone, after))


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment with this wall-clock time. If clocks skip it, the moment they are put forward."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # PEP 495: in a gap, fold 1 is read with the later offset and lies before the change, fold 0 after it.
    before, after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after


def words(expression: str) -> str:
    """The expression in the reader's language; unchanged if it has no form in words."""
    minutes, hours, days, months, weekdays = croniter.expand(expression)[0]
    on, often = _days(days, months, weekdays), _often(minutes, hours)
    when = often or _at(minutes, hours)
    if not when:
        return expression
    if often and not on:
        return often
    return _("%(days)s %(times)s") % {"days": on or _("every day"), "times": when}


def _often(minutes: Sequence[int | str], hours: Sequence[int | str]) -> str:
    """The repetition within a day; empty if there is none, or it is uneven."""
    if minutes == hours == _ALL:
        return _("every minute")
    if minutes == _ALL:
        return ""
    if hours == _ALL and (step := _step(minutes, 60)):
        return ngettext("every %(n)d minute", "every %(n)d minutes", step) % {"n": step}
    if hours == _ALL:
        return _("every hour at minute %(minutes)s") % {"minutes": _list(minutes)}
    if len(minutes) == 1 and (step := _step(hours, 24)):
        sentence = ngettext("every %(n)d hour at minute %(minute)s", "every %(n)d hours at minute %(minute)s", step)
        return sentence % {"n": step, "minute": minutes[0]}
    return ""


def _at(minutes: Sequence[int | str], hours: Sequence[int | str]) -> str:
    """The times of a day; empty if there are too many to read."""
    if minutes == _ALL or len(minutes) * len(hours) > _MOST_TIMES:
        return ""
    return _("at %(times)s") % {"times": _list(f"{hour:02}:{minute:02}" for hour in hours for minute in minutes)}


def _step(values: Sequence[int | str], every: int) -> int:
    """N if the values are 0, N, 2N … up to the end of the field; 0 otherwise."""
    if len(values) < 2:
        return 0
    numbers = [int(value) for value in values]
    step = numbers[1] - numbers[0]
    return step if every % step == 0 and numbers == list(range(0, every, step)) else 0


def _days(days: Sequence[int | str], months: Sequence[int | str], weekdays: Sequence[int | str]) -> str:
    parts = []
    if days != _ALL:
        parts.append(_("on day %(days)s of the month") % {"days": _list(days)})
    if weekdays != _ALL:
        names = [WEEKDAYS[(int(day) - 1) % 7] for day in weekdays]
        parts.append(_("on %(weekdays)s") % {"weekdays": _list(names)})
    # Cron's own rule: if both are given, either is enough.
    text = _(" or ").join(parts)
    if months != _ALL:
        in_ = _("in %(months)s") % {"months": _list(MONTHS[int(month)] for month in months)}
        text = f"{text or _('every day')} {in_}"
    return text


def _list(items: Iterable[object]) -> str:
    return comma().join(map(str, items))
