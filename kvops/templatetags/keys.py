"""What only the pages of keys show: `{% load keys %}`."""

from datetime import UTC, datetime

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.html import format_html
from django.utils.translation import gettext as _

from kvops.templatetags.kvops_ui import when

register = template.Library()


@register.simple_tag
def expires(expiration: int | None) -> str:
    """When a key expires, and how far away that is."""
    if expiration is None:
        return format_html('<span class="text-secondary">{}</span>', _("never"))
    try:
        moment = datetime.fromtimestamp(expiration, UTC)
        return format_html('{} <small class="text-secondary">{}</small>', when(moment), naturaltime(moment))
    except (OverflowError, ValueError, OSError):  # further away than a calendar goes
        return format_html("{} <small>Unix</small>", expiration)
