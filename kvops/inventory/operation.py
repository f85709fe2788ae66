"""The operation of scans, and the changes of keys that nobody explained."""

from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from kvops.inventory import scan as key_scan
from kvops.models import NotificationEvent, Run
from kvops.operations.parts import TEAM, FeatureOperation, Notice, ScheduledJob, SubjectKind

OPERATION = FeatureOperation(
    subjects={
        "unexplained": SubjectKind(
            _("Unexplained changes"),
            "unexplained-scan",
            "kvops.Scan",
            children=[("run", "scan")],
            holds=["unexplained_deletions__name", "unexpected_keys__name"],
        ),
    },
    runs={Run.Kind.SCAN: key_scan.scan},
    jobs={
        "scan": ScheduledJob(
            _("Scan of every namespace"), key_scan.scan_all, "17 1 * * *", apart=timedelta(minutes=5), ahead=True
        ),
    },
    notices={
        NotificationEvent.DELETION_UNEXPLAINED: Notice(roles=TEAM, channel=True),
        NotificationEvent.KEY_UNEXPECTED: Notice(roles=TEAM, channel=True),
        NotificationEvent.KEY_LACKS_EXPIRY: Notice(roles=TEAM, channel=True),
    },
    figures={
        "keys": _("Keys"),
        "added": _("New keys"),
        "changed": _("Changed keys"),
        "gone": _("Keys gone"),
        "unexplained": _("Unexplained"),
        "unexpected": _("Unexpected keys"),
        "unstorable": _("Names that cannot be stored"),
        "calls": _("Requests"),
    },
)
