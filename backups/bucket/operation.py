"""The operation of the bucket."""

from django.utils.translation import gettext_lazy as _, pgettext_lazy

from backups.bucket import diagnosis, newest_manifest, protection, reconcile, waiting
from kvops.models import NotificationEvent, Role, Run
from kvops.operations import looks
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
    states={
        "object_known": looks.Look(_("In a backup"), *looks.GOOD),
        "object_unknown": looks.Look(_("In no backup"), *looks.CARE),
        "object_missing": looks.Look(_("Missing"), *looks.BAD),
        "object_changed": looks.Look(pgettext_lazy("object", "Changed"), *looks.BAD),
        "object_gone": looks.Look(_("Deleted outside KVOps"), *looks.CARE),
        "lock_held": looks.Look(_("Locked"), "green", "lock"),
        "lock_short": looks.Look(_("Lock too short"), *looks.BAD),
        "lock_narrow": looks.Look(_("Locked in part"), *looks.BAD),
        "lock_disabled": looks.Look(_("Lock disabled"), *looks.BAD),
        "lock_missing": looks.Look(_("Not locked"), "red", "lock-open"),
        "lock_unknown": looks.Look(_("Not known"), "orange", "circle-question-mark"),
        "bucket_private": looks.Look(_("Private"), *looks.GOOD),
        "bucket_public": looks.Look(_("Public"), "red", "globe"),
        "bucket_differs": looks.Look(_("Needs a look"), *looks.CARE),
        "bucket_unknown": looks.Look(_("Not known"), "orange", "circle-question-mark"),
    },
)
