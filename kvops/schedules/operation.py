"""The operation of schedules: each feature names its own jobs."""

from django.utils.translation import gettext_lazy as _

from kvops.models import NotificationEvent, Role
from kvops.operations import looks
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
    states={
        "schedule_ok": looks.Look(_("On time"), *looks.GOOD),
        "schedule_running": looks.Look(_("Under way"), *looks.BUSY),
        "schedule_new": looks.Look(_("Not due yet"), *looks.QUIET),
        "schedule_paused": looks.Look(_("Paused"), "yellow", "circle-pause"),
        "schedule_late": looks.Look(_("Late"), *looks.CARE),
        "schedule_overdue": looks.Look(_("Overdue"), *looks.BAD),
        "firing_started": looks.Look(_("Started"), *looks.GOOD),
        "firing_nothing": looks.Look(_("Nothing to do"), *looks.QUIET),
        "firing_refused": looks.Look(_("Could not be started"), *looks.BAD),
    },
)
