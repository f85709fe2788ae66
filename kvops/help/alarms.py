"""Every alarm and its help, by code."""

from django.conf import settings
from django.urls import reverse

from kvops.help.about_backups import BACKUPS
from kvops.help.about_buckets import BUCKETS
from kvops.help.about_keys import KEYS
from kvops.help.about_work import WORK

GROUPS = (WORK, KEYS, BACKUPS, BUCKETS)
BY_CODE = {one.code: one for group in GROUPS for one in group.alarms}


def address(code: str) -> str:
    """The address of an alarm's help; empty if the code is that of mere news."""
    return f"{reverse('help-alarms')}#{code}" if code in BY_CODE else ""


def link(code: str) -> str:
    """The address of an alarm's help for a message, with scheme and host; empty for mere news."""
    path = address(code)
    return f"{settings.BASE_URL}{path}" if path else ""
