"""The procedure of a scheduled clearing."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from kvops.runbook.procedure_steps import Procedure, ProcedureStep

CLEARING = Procedure(
    "clearing",
    1,
    _("Scheduled clearing of a cache"),
    [
        ProcedureStep(
            _("Begin the round"),
            _("The standing approval of the rule is in force, and every condition holds."),
            [Action.CLEARING_STARTED],
        ),
        ProcedureStep(
            _("Prove that the keys are gone"),
            _("Exactly the keys of the rule were backed up, verified and deleted, and two listings show it."),
            [Action.CLEARING_CLEARED],
        ),
        ProcedureStep(
            _("Try the application in QA"),
            _("An operator notes what was tried, before the same rule runs in production."),
            [Action.CLEARING_ACCEPTED],
            optional=True,
        ),
    ],
)
