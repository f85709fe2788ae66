"""The operation of checks against D1."""

from collections.abc import Collection

from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from backups.integrity import cases, start
from backups.models import Check
from kvops.models import Run
from kvops.operations.parts import (
    BackupRead,
    BadgeCount,
    FeatureOperation,
    Procedure,
    ProcedureStep,
    ScheduledJob,
    SubjectKind,
)
from kvops.wording import labelled


def _titles(keys: Collection[int]) -> dict[int, str]:
    """The titles of these checks by key, in one query."""
    found = Check.objects.filter(pk__in=keys).select_related("namespace__environment")
    return {
        one.pk: labelled(
            gettext("Check %(pk)s") % {"pk": one.pk}, f"KV {one.namespace}" if one.namespace else one.source
        )
        for one in found
    }


_PROCEDURE = Procedure(
    "integrity_check",
    1,
    _("Integrity check"),
    [
        ProcedureStep(
            _("Start the check"),
            _("A backup or a file is compared with D1."),
            [Action.CHECK_STARTED],
        ),
        ProcedureStep(
            _("No difference"),
            _("Counts and contents are equal. With a difference, nothing is deleted."),
            [Action.CHECK_PASSED],
        ),
        ProcedureStep(
            _("Write down the cause of a difference"),
            _("A note says why the two differed, before the data is exported or loaded again."),
            [Action.RUNBOOK_NOTED],
            optional=True,
        ),
    ],
)

OPERATION = FeatureOperation(
    subjects={
        "check": SubjectKind(
            _("Check"),
            "backups:check",
            "backups.Check",
            parents={"generation": "generation", "stage": "datasets_of_stages"},
            children=[("run", "checks")],
            titled=_titles,
        ),
    },
    runs={Run.Kind.CHECK: start.run_check},
    jobs={
        "check": ScheduledJob(_("Checks of the newest backups against D1"), start.check_newest, "7 5 * * 1"),
    },
    procedures=[_PROCEDURE],
    begins={Action.CHECK_STARTED: "check"},
    figures={
        "check": _("Check"),
        "rows": _("Rows"),
        "kv_rows": _("Rows in KV"),
        "rows_read": _("Rows read"),
        "differences": _("Differences"),
        "only_in_d1": _("Only in D1"),
    },
    reads=[BackupRead(Check.objects.all, "generation")],
    todos=[cases.as_todos],
    alarms=[cases.alarms],
    badges=[
        BadgeCount("todos", cases.overdue_of, _("overdue")),
        BadgeCount("integrity", cases.without_a_case, _("differ from D1")),
    ],
)
