"""Runs that wait for a service: people are told after 15 minutes, once for an outage and environment."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby

from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from audit import log
from kvops import timing
from kvops.models import Notification, NotificationEvent, Run
from kvops.notifications import outbox
from kvops.wording import moment, say, stored, translated

NAMED = 10
"""Runs. A message names at most so many."""


def tell() -> None:
    """Write a message for each environment in which a run has waited without progress for too long.

    Runs that began to wait before the last message belong to the outage it told of. `sweep` calls it.
    """
    late = Run.objects.open().filter(
        foreground=False, waiting_since__lt=Now() - timedelta(seconds=timing.WAITING_TOLD), environment__isnull=False
    )
    ordered = late.select_related("environment").order_by("environment_id", "waiting_since")
    for _environment, runs in groupby(ordered, key=lambda run: run.environment_id):
        _tell(list(runs))


def _tell(runs: Sequence[Run]) -> None:
    first, environment = runs[0], runs[0].environment
    if environment is None:
        raise TypeError(first)
    subject = f"environment:{environment.slug}"
    told = Notification.objects.filter(event=NotificationEvent.RUN_WAITING, subject=subject)
    if told.filter(created_at__gt=first.waiting_since).exists():
        return
    title = ngettext_lazy(
        "%(n)d run in %(environment)s waits for a service",
        "%(n)d runs in %(environment)s wait for a service",
        len(runs),
    )
    with log.transaction():
        outbox.post(
            NotificationEvent.RUN_WAITING,
            subject=subject,
            occasion=f"waiting {first.waiting_since.isoformat() if first.waiting_since else ''}",
            environment=environment,
            title=say(title, n=len(runs), environment=environment.name),
            lines=[line for run in runs[:NAMED] for line in _lines(run)],
            link=reverse("runs"),
        )


def _lines(run: Run) -> Sequence[str]:
    facts = {"kind": Run.Kind(run.kind).label, "what": run.label, "since": moment(run.waiting_since)}
    return [
        say(_("%(kind)s %(what)s, without progress since %(since)s"), **facts),
        translated(stored(run.note, run.note_sentence)),
    ]
