"""The procedures of a change of a settings key and of a bulk change of a cache, by KVOps."""

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from kvops.runbook.procedure_steps import Procedure, ProcedureStep

_VERIFIED_OLD = ProcedureStep(
    _("Back up the old value"),
    _("It is in an encrypted backup that was read back. A new key has none."),
    [Action.GENERATION_VERIFIED],
    optional=True,
)

CHANGE = Procedure(
    "change",
    1,
    _("Change of a settings key"),
    [
        ProcedureStep(
            _("Propose the change"),
            _("Old and new value are in one encrypted object, and the old value is backed up."),
            [Action.CHANGE_PREPARED],
        ),
        _VERIFIED_OLD,
        ProcedureStep(
            _("Approval"),
            _("Another person approves exactly this change, with QA's change or the reason without one."),
            [Action.CHANGE_APPROVED],
        ),
        ProcedureStep(
            _("Write and read back"),
            _("The worker writes if KV still holds the old value, and reads the key back."),
            [Action.CHANGE_FINISHED],
        ),
        ProcedureStep(_("Erase the proposal"), _("The object with both values is deleted."), [Action.PROPOSAL_ERASED]),
        ProcedureStep(
            _("Try the application"),
            _("An operator notes what was tried, and that the application works."),
            [Action.CHANGE_ACCEPTED],
            optional=True,
        ),
    ],
)

BULK_CHANGE = Procedure(
    "bulk_change",
    1,
    _("Bulk change of a cache"),
    [
        ProcedureStep(
            _("Choose the keys"),
            _("The list of keys is fixed from a scan, with the expiration or the mark that each key gets."),
            [Action.BULK_PREPARED],
        ),
        ProcedureStep(
            _("Back up and verify"),
            _("Exactly these keys are stored in R2 and read back."),
            [Action.BULK_BACKED_UP],
        ),
        ProcedureStep(
            _("Approval"),
            _("Another person approves exactly this list of keys. In production it was accepted in QA before."),
            [Action.BULK_APPROVED],
            voided=[Action.BULK_RETURNED],
        ),
        ProcedureStep(
            _("Write and read back"),
            _("Each key that still equals its backup is written, and each is read back and compared."),
            [Action.BULK_FINISHED],
        ),
        ProcedureStep(
            _("Try the application"),
            _("An operator notes what was tried, and that the application works."),
            [Action.BULK_ACCEPTED],
            optional=True,
        ),
    ],
)
