"""Notifications of a deletion: keys that are there again."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from backups.models import CleanupStage
from kvops.models import NotificationEvent
from kvops.notifications import outbox
from kvops.wording import say


def tell_reappeared(stage: CleanupStage, number: int, *, shown: str, occasion: str) -> None:
    """Notify once per occasion of the reappeared keys, within the open transaction. `shown` is the list to open."""
    title = ngettext_lazy("%(stage)s: %(n)s deleted key reappeared", "%(stage)s: %(n)s deleted keys reappeared", number)
    outbox.post(
        NotificationEvent.KEY_REAPPEARED,
        subject=f"stage:{stage.pk}",
        title=say(title, stage=stage, n=f"{number:,}"),
        lines=[say(_("KVOps does not delete them again. Inspect the keys, and note your findings."))],
        link=f"{reverse('backups:stage', args=[stage.pk])}?show={shown}",
        environment=stage.environment,
        occasion=occasion,
    )
