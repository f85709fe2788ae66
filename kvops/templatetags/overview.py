"""Parts of the overview: `{% load overview %}`."""

from datetime import UTC, datetime
from pathlib import Path

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html

from kvops import clock
from kvops.templatetags.ui import NOTHING

register = template.Library()


@register.simple_tag
def brief(value: datetime | None, now: datetime | None = None) -> str:
    """A moment as short as it can be told: the time of today, or the day; in full on hover and for screen readers."""
    if value is None:
        return NOTHING
    local, today = timezone.localtime(value), timezone.localtime(now or clock.now())
    short = f"{local:%H:%M}" if local.date() == today.date() else f"{local:%m-%d}"
    if local.year != today.year:
        short = f"{local:%Y-%m-%d}"
    return format_html(
        '<time class="text-nowrap" datetime="{}" title="{} {}">{}</time>',
        value.astimezone(UTC).isoformat(),
        f"{local:%Y-%m-%d %H:%M}",
        local.tzname() or "",
        short,
    )


@register.simple_tag
def sample_data_arrives() -> bool:
    """Whether the sandbox still adds sample data."""
    return settings.SANDBOX and bool(settings.SANDBOX_FILLING) and Path(settings.SANDBOX_FILLING).exists()
