"""Parts of the pages of keys only: `{% load keys %}`."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.translation import gettext as _, ngettext, pgettext

from kvops.models.categories import mark_of
from kvops.templatetags.ui import when

register = template.Library()


@register.simple_tag
def expires(expiration: int | None) -> str:
    """The expiration of a key, and the time until then."""
    if expiration is None:
        return format_html('<span class="text-secondary">{}</span>', pgettext("expiration", "never"))
    try:
        moment = datetime.fromtimestamp(expiration, UTC)
        return when(moment)
    except (OverflowError, ValueError, OSError):  # beyond the range of the calendar
        return format_html("{} <small>Unix</small>", expiration)


@register.simple_tag
def expiry_design(expiry: str) -> str:
    """A family's expiry design in words."""
    if expiry == "none":
        return _("none")
    if expiry == "regenerate":
        return _("written again when missing")
    if mark := mark_of(expiry):
        return _("written again when missing; marked by “%(member)s” in the metadata") % {"member": mark}
    seconds = int(expiry.removeprefix("ttl:"))
    days, hours = seconds // 86400, seconds // 3600
    if seconds == days * 86400:
        return ngettext("expires after %(count)d day", "expires after %(count)d days", days) % {"count": days}
    if seconds == hours * 3600:
        return ngettext("expires after %(count)d hour", "expires after %(count)d hours", hours) % {"count": hours}
    return ngettext("expires after %(count)d second", "expires after %(count)d seconds", seconds) % {"count": seconds}
