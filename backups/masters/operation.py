"""The operation of exports of master data from D1."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from backups.generations import start as generation_start
from backups.generations.operation import COMPARED, VERIFIED
from backups.masters import clinics, run, start
from kvops.models import Run
from kvops.operations.parts import FeatureOperation, Procedure, ProcedureStep, ScheduledJob

_PROCEDURE = Procedure(
    "backup_masters",
    1,
    _("Backup of master data"),
    [
        ProcedureStep(
            _("Export the master data"),
            _("The rows of D1 are written to R2 as backups/masters/YYYYMMDD.json."),
            [Action.GENERATION_COMPLETED],
        ),
        VERIFIED,
        COMPARED,
    ],
)

OPERATION = FeatureOperation(
    runs={Run.Kind.MASTERS: run.export},
    after={Run.Kind.MASTERS: generation_start.backup_finished},
    jobs={
        "masters": ScheduledJob(_("Export of master data from D1"), start.scheduled, "13 2 * * *"),
        "clinics": ScheduledJob(_("Export of old clinic records"), clinics.scheduled, "33 2 * * 0"),
    },
    procedures=[_PROCEDURE],
)
