"""Every alarm and its help, by code."""

from collections.abc import Iterable

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from kvops.help.about_backups import BACKUPS
from kvops.help.about_buckets import BUCKETS
from kvops.help.about_keys import KEYS
from kvops.help.about_work import WORK

GROUPS = (WORK, KEYS, BACKUPS, BUCKETS)
BY_CODE = {one.code: one for group in GROUPS for one in group.alarms}


def address(code: str) -> str:
    """The address of an alarm's help; empty if the code is that of mere news."""
    return f"{reverse('help-alarms')}#{code}" if code in BY_CODE else ""


def in_message(codes: Iterable[str]) -> str:
    """The lines of a message that lead to the help for its alarms; empty for mere news."""
    links = [f"{settings.BASE_URL}{path}" for code in dict.fromkeys(codes) if (path := address(code))]
    return "\n".join([_("Meaning and next step:"), *links]) if links else ""
