"""The procedure of a change of a person's roles."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from kvops.runbook.procedure_steps import Procedure, ProcedureStep

PEOPLE = Procedure(
    "people",
    1,
    _("Change of a person's roles"),
    [
        ProcedureStep(
            _("Ask for the change"),
            _("An operator or a reviewer names the person, the roles and the reason."),
            [Action.PERSON_CHANGE_REQUESTED],
        ),
        ProcedureStep(
            _("Approval"),
            _("A reviewer who did not ask, and whom it is not about, approves it."),
            [Action.APPROVAL_APPROVED],
        ),
        ProcedureStep(
            _("Put it in force"),
            _("It takes effect with the approval, and the person and all reviewers are told."),
            [Action.APPROVAL_USED],
        ),
    ],
)
