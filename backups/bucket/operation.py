"""The operation of the bucket."""

from django.utils.translation import gettext_lazy as _

from backups.bucket import diagnosis, newest_manifest, protection, reconcile, waiting
from kvops.models import NotificationEvent, Role, Run
from kvops.operations.parts import TEAM, BadgeCount, DoctorCheck, FeatureOperation, Notice, ScheduledJob, SubjectKind

OPERATION = FeatureOperation(
    subjects={"object": SubjectKind(_("Object"), "backups:storage_object")},
    runs={Run.Kind.RECONCILE: reconcile.reconcile},
    jobs={
        "reconcile": ScheduledJob(_("Comparison of the bucket with the backups"), reconcile.scheduled, "47 3 * * *"),
    },
    notices={
        NotificationEvent.OBJECT_MISSING: Notice(roles=TEAM, channel=True),
        NotificationEvent.OBJECT_CHANGED: Notice(roles=TEAM, channel=True),
        NotificationEvent.OBJECT_UNKNOWN: Notice(roles=(Role.OPERATOR,), channel=True),
        NotificationEvent.BUCKET_UNPROTECTED: Notice(roles=TEAM, channel=True),
    },
    figures={
        "known_objects": _("Objects of backups"),
        "unknown_objects": _("Objects of no backup"),
        "missing_objects": _("Objects missing"),
        "changed_objects": _("Objects changed"),
        "gone_objects": _("Objects of no backup that were deleted"),
        "unfinished_uploads": _("Unfinished uploads"),
    },
    looks=[newest_manifest.look_for_rollback, protection.ask_when_due],
    doctor=[
        DoctorCheck(diagnosis.objects, of_environment=True, outside=True),
        DoctorCheck(diagnosis.rules, of_environment=True, outside=True),
    ],
    alarms=[waiting.alarms],
    badges=[BadgeCount("storage", waiting.with_differences, _("buckets that differ from the backups"))],
)
