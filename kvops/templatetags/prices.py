"""Prices, durations and quotas in words: `{% load prices %}`."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from kvops.connections.prices import FREE_A_DAY

register = template.Library()

_MINUTE, _HOUR = 60, 3_600
OPERATION_WORDS = {
    "read": gettext_lazy("reads"),
    "write": gettext_lazy("writes"),
    "delete": gettext_lazy("deletes"),
    "list": gettext_lazy("lists"),
}


@register.filter
def duration(seconds: int) -> str:
    """A duration, in the unit that is exact enough."""
    if seconds < 2 * _MINUTE:
        return ngettext("about %(n)d second", "about %(n)d seconds", seconds) % {"n": seconds}
    if seconds < 2 * _HOUR:
        return ngettext("about %(n)d minute", "about %(n)d minutes", -(-seconds // _MINUTE)) % {
            "n": -(-seconds // _MINUTE)
        }
    hours = number_format(seconds / _HOUR, 1, force_grouping=True)
    return _("about %(n)s hours") % {"n": hours}


@register.filter
def dollars(millicents: int) -> str:
    """An amount in US dollars, rounded up to a cent."""
    return f"US$ {number_format(-(-millicents // 1_000) / 100, 2, force_grouping=True)}"


@register.simple_tag
def free_quota() -> str:
    """The daily quota of the free plan, in words."""
    return _("%(reads)s reads, %(writes)s writes, %(deletes)s deletes and %(lists)s lists a day") % {
        f"{name}s": number_format(count, force_grouping=True) for name, count in FREE_A_DAY.items()
    }


@register.filter
def operation(name: str) -> str:
    """The word for a kind of operation, as Cloudflare counts them."""
    return str(OPERATION_WORDS[name])
