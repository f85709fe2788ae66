"""A moment in words that are read at a glance: "3 hours ago", "in 2 days"."""

from datetime import datetime, timedelta

from django.utils.translation import gettext as _, ngettext

WEEK = timedelta(days=7)
"""Farther from now, a date says more than a number of days."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def words(at: datetime, now: datetime) -> str:
    """The distance of a moment from now; empty if it is a week or more. `kvops.js` keeps it true on an open page."""
    if abs(at - now) >= WEEK:
        return ""
    seconds = int(abs((at - now).total_seconds()))
    coming = at > now
    if seconds < _MINUTE:
        return _("in less than a minute") if coming else _("just now")
    if seconds < _HOUR:
        n = seconds // _MINUTE
        return (
            ngettext("in %(n)d minute", "in %(n)d minutes", n)
            if coming
            else ngettext("%(n)d minute ago", "%(n)d minutes ago", n)
        ) % {"n": n}
    if seconds < 2 * _DAY:
        n = seconds // _HOUR
        return (
            ngettext("in %(n)d hour", "in %(n)d hours", n)
            if coming
            else ngettext("%(n)d hour ago", "%(n)d hours ago", n)
        ) % {"n": n}
    n = seconds // _DAY
    return (
        ngettext("in %(n)d day", "in %(n)d days", n) if coming else ngettext("%(n)d day ago", "%(n)d days ago", n)
    ) % {"n": n}
