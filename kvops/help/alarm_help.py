"""The form of one alarm's help."""

from dataclasses import dataclass

from django.utils.functional import Promise


@dataclass(frozen=True)
class AlarmHelp:
    """The help of an alarm: its `code`, a title, its meaning, the next step, and the name of the page to go to.

    The code is that of the notification (`NotificationEvent`) where the alarm has one. It is the anchor on the page.
    """

    code: str
    title: Promise
    meaning: Promise
    next_step: Promise
    page: str


@dataclass(frozen=True)
class AlarmGroup:
    """Alarms about one thing, under one heading."""

    title: Promise
    alarms: tuple[AlarmHelp, ...]
