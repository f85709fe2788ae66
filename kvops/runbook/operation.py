"""The operation of the runbook: operations that a person states, and to-dos."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from kvops.models import NotificationEvent, Role
from kvops.operations import looks
from kvops.operations.parts import (
    FeatureOperation,
    Notice,
    NoticeReason,
    Procedure,
    ProcedureStep,
    Question,
    ScheduledJob,
    SubjectKind,
)
from kvops.runbook import secrets, todo

_BY_HAND = Procedure(
    "key_change",
    1,
    _("Change of a key"),
    [
        ProcedureStep(
            _("Back up the old value"),
            _("The old value is in a verified, encrypted backup before it is changed."),
            [Action.GENERATION_VERIFIED],
        ),
        ProcedureStep(
            _("Approval"), _("Another person checks the change before it is made."), [Action.APPROVAL_APPROVED]
        ),
        ProcedureStep(
            _("Record the change"),
            _("The runbook has the person, the time and the command, never the value."),
            [Action.RUNBOOK_STATED],
        ),
    ],
)

OPERATION = FeatureOperation(
    subjects={
        "stated": SubjectKind(
            _("Operation outside KVOps"), "runbook-stated", "kvops.StatedOperation", holds=["names__contains"]
        ),
    },
    jobs={"todos": ScheduledJob(_("Notices of overdue to-dos"), todo.overdue, "19 6 * * *", each=False)},
    notices={
        NotificationEvent.TODO_OVERDUE: Notice(roles=(Role.OPERATOR,), channel=True, reason=NoticeReason.DEADLINE)
    },
    procedures=[_BY_HAND],
    quiet=[Action.RUNBOOK_NOTED, Action.TODO_ADDED, Action.TODO_DONE],
    todos=[todo.of_entries, todo.of_code],
    answers={Question.NO_SECRET: secrets.insist_no_secret},
    states={
        "runbook_operation": looks.Look(_("By KVOps"), "azure", "server"),
        "runbook_read": looks.Look(_("Masked value read"), "orange", "eye"),
        "runbook_stated": looks.Look(_("Stated by a person"), "yellow", "user-pen"),
        "runbook_outside": looks.Look(_("Changed outside KVOps"), *looks.CARE),
    },
)
