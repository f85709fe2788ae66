"""The notices about services and the database, which no feature of their own finds."""

from django.utils.translation import gettext_lazy as _

from kvops.models import NotificationEvent
from kvops.operations import looks
from kvops.operations.parts import TEAM, FeatureOperation, Notice

OPERATION = FeatureOperation(
    notices={
        NotificationEvent.TOKEN_REFUSED: Notice(roles=TEAM, channel=True),
        NotificationEvent.CLOCK_APART: Notice(roles=TEAM, channel=True),
        NotificationEvent.DATABASE_ROLLED_BACK: Notice(roles=TEAM, channel=True),
    },
    states={
        "notification_waiting": looks.Look(_("To be sent"), *looks.WAITS),
        "notification_sending": looks.Look(_("Being sent"), *looks.BUSY),
        "notification_delivered": looks.Look(_("Delivered"), *looks.GOOD),
        "notification_failed": looks.Look(_("Not delivered"), *looks.BAD),
        "notification_dropped": looks.Look(_("Given up"), *looks.OVER),
    },
)
