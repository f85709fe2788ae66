"""The parts of the pages of clean-ups: `{% load cleanup %}`."""

from collections.abc import Sequence

from django import template
from django.utils.translation import gettext as _, ngettext

from backups.cleanup.pages import came_back as stage_came_back
from backups.cleanup.pages.phases import Phase
from backups.models import CleanupStage
from kvops.wording import spelled

register = template.Library()

MINUTE, HOUR = 60, 3600


@register.inclusion_tag("cleanup/_phases.html")
def phases(of: Sequence[Phase]) -> dict[str, object]:
    """The phases of a stage as an ordered list; those with finished or present steps open to them."""
    marks = {"done": "✓", "current": "●", "todo": "○", "failed": "✗"}
    words = {"done": _("Done"), "current": _("Now"), "todo": _("Still to do"), "failed": _("Failed")}
    return {"phases": [(phase, marks[phase.state], words[phase.state]) for phase in of]}


@register.simple_tag
def came_back(stage: CleanupStage) -> Sequence[stage_came_back.CameBack]:
    """The restores that wrote deleted keys of the stage back."""
    return stage_came_back.of(stage)


@register.simple_tag
def time_left(seconds: int) -> str:
    """An estimate of the time left, in words."""
    if seconds < MINUTE:
        return _("less than a minute left")
    if seconds < 2 * HOUR:
        minutes = round(seconds / MINUTE)
        return ngettext("about %(n)s minute left", "about %(n)s minutes left", minutes) % {"n": spelled(minutes)}
    hours = round(seconds / HOUR)
    return ngettext("about %(n)s hour left", "about %(n)s hours left", hours) % {"n": spelled(hours)}
