"""Whether background work goes on: worker, sweep, executed tasks and outgoing messages."""

from datetime import timedelta

from django.db.models.functions import Now

from kvops import timing
from kvops.models import Notification
from kvops.supervision import heartbeats
from kvops.wording import several


def missing() -> list[str]:
    """One sentence for each part of the background work that does not go on."""
    return [*heartbeats.missing(), *_undelivered()]


def _undelivered() -> list[str]:
    """The sentence about an outbox that nobody empties. A failed message is a person's business."""
    waiting = Notification.objects.filter(state__in=[Notification.State.WAITING, Notification.State.SENDING])
    late = waiting.filter(created_at__lt=Now() - timedelta(seconds=timing.OUTBOX_LATE)).count()
    return (
        [f"The outbox has {several(late, 'message')} older than {timing.OUTBOX_LATE / 60:.0f} minutes."] if late else []
    )
