"""The operation of schedules: each feature names its own jobs."""

from django.utils.translation import gettext_lazy as _

from kvops.models import NotificationEvent, Role
from kvops.operations.parts import FeatureOperation, Notice, SubjectKind
from kvops.schedules import jobs as schedule_jobs

OPERATION = FeatureOperation(
    subjects={
        "schedule": SubjectKind(_("Schedule"), "schedule", "kvops.Schedule", titled=schedule_jobs.of_schedules),
    },
    notices={
        NotificationEvent.SCHEDULE_MISSED: Notice(roles=(Role.OPERATOR,), channel=True),
        NotificationEvent.SCHEDULE_REFUSED: Notice(roles=(Role.OPERATOR,), channel=True),
    },
)
