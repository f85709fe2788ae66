"""The operation of settings changed outside KVOps."""

from django.utils.translation import gettext_lazy as _

from backups.outside_changes import announcements, one_key, search
from kvops.models import NotificationEvent, Run
from kvops.operations.parts import TEAM, BadgeCount, FeatureOperation, Notice, OwnChange, SubjectKind

OPERATION = FeatureOperation(
    subjects={
        "outside": SubjectKind(
            _("Settings changed outside KVOps"), "backups:outside", "backups.OutsideSearch", holds=["changes__name"]
        ),
    },
    runs={Run.Kind.OUTSIDE: search.search, Run.Kind.COMPARE_SETTING: one_key.compare_one},
    after={Run.Kind.BACKUP: search.backup_finished, Run.Kind.VERIFY: search.verify_finished},
    notices={NotificationEvent.SETTING_CHANGED_OUTSIDE: Notice(roles=TEAM, channel=True)},
    own_changes={OwnChange.REPORTED: search.reported_gone},
    alarms=[announcements.alarms],
    badges=[BadgeCount("unexplained", announcements.unexplained, _("found by backups, not explained"))],
)
