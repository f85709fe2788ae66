"""The notification of a round that stopped."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups.models import ClearingRound
from kvops.models import NotificationEvent
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.wording import say, translated


def tell_stopped(round_: ClearingRound, why: Sentence, occasion: str) -> None:
    """Notify the team once per occasion that a round stopped, within the open transaction."""
    clearing = round_.clearing
    outbox.post(
        NotificationEvent.CLEARING_STOPPED,
        subject=clearing.subject,
        occasion=f"round {round_.pk} {occasion}"[:100],
        environment=clearing.namespace.environment,
        title=say(_("The scheduled clearing of %(what)s stopped"), what=clearing),
        lines=[translated(why)],
        link=reverse("backups:clearing", args=[clearing.pk]),
    )
