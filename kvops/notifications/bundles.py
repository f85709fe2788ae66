"""Bundles: the notifications of one round of a check, which each recipient gets as one message.

A check of every family or every object can find many things at once. The message of a bundle has their number; each
is named with its lines and its link.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.http import urlencode
from django.utils.translation import gettext as _, ngettext

from kvops.help import pages as help_pages
from kvops.models import Notification, NotificationEvent, Run
from kvops.notifications.senders import Message

NAMED = 20
"""Notifications. A message names at most this many of its bundle, and links to the rest."""

_bundle: ContextVar[str] = ContextVar("bundle", default="")


@contextmanager
def one_bundle(name: str) -> Iterator[None]:
    """Put the notifications that are posted in this context into one bundle; `name` is of one round of a check.

    Within another bundle, or without a name, nothing changes.
    """
    before = _bundle.set(current() or name)
    try:
        yield
    finally:
        _bundle.reset(before)


def current() -> str:
    """The name of the open bundle; empty if none is open."""
    return _bundle.get()


def of_run(run: Run) -> str:
    """The bundle of all runs that one due time of a schedule started; empty for other runs."""
    return f"firing:{run.firing_id}" if run.firing_id else ""


def unfinished() -> list[str]:
    """The bundles whose runs are not all over, so that more may come."""
    return [of_run(run) for run in Run.objects.open().exclude(firing=None).distinct("firing").only("firing")]


def message_of(mine: Sequence[Notification]) -> Message:
    """The message for one or more notifications of one bundle and recipient, in the recipient's language."""
    first, alone = mine[0], len(mine) == 1
    with translation.override(first.language):
        link = first.link if len({one.link for one in mine}) == 1 else _all_of(first)
        return Message(
            number=first.pk,
            title=first.title if alone else _title(mine),
            lines=first.lines if alone else _lines(mine),
            link=f"{settings.BASE_URL}{link}" if link else "",
            open_it=_("Open it in KVOps"),
            help=help_pages.in_message(one.event for one in mine),
            again=_("Sent again: an earlier attempt may have arrived.") if any(one.unclear for one in mine) else "",
        )


def _all_of(one: Notification) -> str:
    return f"{reverse('notifications')}?{urlencode({'bundle': one.bundle})}"


def _title(mine: Sequence[Notification]) -> str:
    events = Counter(NotificationEvent(one.event) for one in mine)
    named = ", ".join(f"{event.label} ({n})" for event, n in events.items())
    title = ngettext("%(n)d notification: %(events)s", "%(n)d notifications: %(events)s", len(mine))
    return title % {"n": len(mine), "events": named}


def _lines(mine: Sequence[Notification]) -> list[str]:
    lines = []
    for number, one in enumerate(mine[:NAMED], 1):
        link = [f"{settings.BASE_URL}{one.link}"] if one.link else []
        lines += [f"{number}. {one.title}", *(f"   {line}" for line in (*one.lines, *link))]
    if (more := len(mine) - NAMED) > 0:
        lines.append(ngettext("And %(n)d more.", "And %(n)d more.", more) % {"n": more})
    return lines
