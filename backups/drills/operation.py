"""The operation of restore drills."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Value
from django.db.models.functions import Concat, Now
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from backups.drills import requests as drill_requests, run
from backups.models import Drill, DrilledBackup, Generation
from kvops.approvals.lines import at_most, stands_until
from kvops.models import ApprovalRequest, NotificationEvent, Person, Run, Scratch
from kvops.operations.parts import (
    NAMESPACE,
    TEAM,
    BackupRead,
    FeatureOperation,
    Notice,
    NoticeReason,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    ScheduledJob,
    SubjectKind,
)
from kvops.overview.lines import Line, step


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = gettext("Restore drills in %(environment)s %(namespace)s")
    return text % {"environment": environment, "namespace": shown["namespace_title"]}


_PROCEDURE = Procedure(
    "drill",
    1,
    _("Restore drill"),
    [
        ProcedureStep(
            _("Start the drill"),
            _("A reviewer has approved the rule of the drills."),
            [Action.DRILL_STARTED],
        ),
        ProcedureStep(
            _("Restore into the scratch namespace"),
            _("Each backup is written there, read back, compared byte by byte and removed."),
            [Action.DRILL_REHEARSED],
        ),
        ProcedureStep(_("Every backup passed"), _("The drill has no difference."), [Action.DRILL_PASSED]),
        ProcedureStep(
            _("Write down the cause of a failure"),
            _("A note says why a backup could not be restored, before the next drill."),
            [Action.RUNBOOK_NOTED],
            optional=True,
        ),
    ],
)

Approval = ApprovalRequest.State


def steps(_person: Person) -> Iterator[Line]:
    """The late drills of environments with a scratch namespace and a verified backup, unless one is under way."""
    subject = Concat(Value("drill:"), OuterRef("environment__slug"))
    asked = ApprovalRequest.objects.filter(kind=ApprovalRequest.Kind.DRILL, subject=subject)
    mine = Drill.objects.filter(environment=OuterRef("environment"))
    late = Scratch.objects.filter(
        ~Exists(mine.filter(passed=True, finished_at__gt=Now() - Drill.LATE)),
        ~Exists(mine.filter(run__state__in=Run.OPEN)),
        ~Exists(asked.filter(state=Approval.PENDING)),
        Exists(Generation.objects.verified().filter(environment=OuterRef("environment"))),
    )
    approved = Exists(asked.filter(state=Approval.APPROVED, standing_until__gt=Now()))
    for scratch in late.annotate(approved=approved).select_related("environment").order_by("environment__order"):
        ask = gettext("Ask for the approval of restore drills")
        title = gettext("Start a restore drill") if scratch.approved else ask
        yield step(scratch.environment, title, str(scratch), reverse("backups:drills"))


OPERATION = FeatureOperation(
    subjects={"drill": SubjectKind(_("Drill"), "backups:drill", "backups.Drill", children=[("run", "drill")])},
    requests={
        ApprovalRequest.Kind.DRILL: RequestKind(
            _title,
            NAMESPACE,
            lines=[stands_until, at_most],
            page=RequestPage(
                "backups:drills",
                _("Go to the drills"),
                _("The approval is in force: each drill until then uses it."),
                _("The approval has expired. Ask again."),
                for_all=True,
            ),
        ),
    },
    runs={Run.Kind.DRILL: run.run_drill},
    jobs={
        "drill_in_time": ScheduledJob(
            _("Notice of restore drills that are overdue"), drill_requests.in_time, "29 6 * * *"
        ),
        "drill": ScheduledJob(
            _("Restore drill"),
            drill_requests.scheduled,
            "11 4 1 * *",
            apart=timedelta(days=1),
            ahead=True,
        ),
    },
    notices={
        NotificationEvent.DRILL_FAILED: Notice(roles=TEAM, channel=True),
        NotificationEvent.DRILL_OVERDUE: Notice(roles=TEAM, channel=True, reason=NoticeReason.DEADLINE),
    },
    procedures=[_PROCEDURE],
    begins={Action.DRILL_STARTED: "drill"},
    quiet=[Action.DRILL_WRITING, Action.DRILL_REMOVING],
    figures={
        "backups": _("Backups"),
        "differing": _("Different"),
    },
    reads=[BackupRead(DrilledBackup.objects.all, "generation", run="drill__run")],
    steps=[steps],
)
