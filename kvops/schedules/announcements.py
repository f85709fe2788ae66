"""Messages about due times that were missed, late or refused."""

from collections.abc import Sequence
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from kvops.models import Firing, NotificationEvent
from kvops.notifications import outbox
from kvops.subjects import tree as subjects
from kvops.wording import moment, say


def missed_lines(firing: Firing, now: datetime) -> list[str]:
    """The late start and the missed due times, as sentences."""
    caught_up = say(
        _("Due at %(due)s, started at %(now)s: until then the sweep did not run, or the database did not answer."),
        due=moment(firing.due_at),
        now=moment(now),
    )
    if firing.missed_since is None:
        return [caught_up]
    sentence = ngettext_lazy(
        "%(n)d earlier due time, since %(since)s, was missed and will not be made up.",
        "%(n)d earlier due times, since %(since)s, were missed and will not be made up.",
        firing.missed,
    )
    return [caught_up, say(sentence, n=firing.missed, since=moment(firing.missed_since))]


def tell(event: NotificationEvent, firing: Firing, title: str, lines: Sequence[str]) -> None:
    """Write the message about a due time, within the open transaction."""
    outbox.post(
        event,
        subject=f"schedule:{firing.schedule_id}",
        occasion=firing.due_at.isoformat(),
        environment=firing.schedule.environment,
        title=title,
        lines=lines,
        link=subjects.address(firing.schedule.subject) or reverse("schedule", args=[firing.schedule_id]),
    )
