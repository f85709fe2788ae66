"""The notices about services and the database, which no feature of their own finds."""

from kvops.models import NotificationEvent
from kvops.operations.parts import TEAM, FeatureOperation, Notice

OPERATION = FeatureOperation(
    notices={
        NotificationEvent.TOKEN_REFUSED: Notice(roles=TEAM, channel=True),
        NotificationEvent.CLOCK_APART: Notice(roles=TEAM, channel=True),
        NotificationEvent.DATABASE_ROLLED_BACK: Notice(roles=TEAM, channel=True),
    },
)
