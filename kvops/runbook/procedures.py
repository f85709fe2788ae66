"""The procedures of the policy's operations, as versioned data. A changed procedure is a new version beside the old.

The entry of the audit log that begins an operation names the procedure and its version at that time (`begun`).
"""

from collections.abc import Iterable, Mapping, Sequence

from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from audit.chain import JSON
from kvops.inventory import families as key_families
from kvops.models import Family
from kvops.runbook.change_procedure import BULK_CHANGE, CHANGE
from kvops.runbook.clearing_procedure import CLEARING
from kvops.runbook.people_procedure import PEOPLE
from kvops.runbook.procedure_steps import Procedure, ProcedureStep
from kvops.wording import say


def _stage(*, production: bool) -> list[ProcedureStep]:
    """The steps of a clean-up in one environment."""
    place, back = _("Production") if production else _("QA"), [Action.STAGE_RETURNED]
    steps = [
        (
            _("%(place)s: back up and verify"),
            _("The list of keys is fixed, stored in R2, and read back by a separate run."),
            Action.STAGE_VERIFIED,
        ),
        (
            _("%(place)s: check against D1"),
            _("Legacy data must be equal to D1. Caches and settings are not in D1."),
            Action.STAGE_CHECKED,
        ),
        (
            _("%(place)s: share the backup"),
            _("The team is told of the backup, with time and person."),
            Action.COPY_SHARED,
        ),
        (_("%(place)s: approval"), _("Another person approves exactly this list of keys."), Action.STAGE_APPROVED),
        (
            _("%(place)s: delete and prove"),
            _("Exactly the approved keys are deleted, up to 1,000 per request. Two listings show that they are gone."),
            Action.STAGE_CONFIRMED,
        ),
        (
            _("%(place)s: try the application"),
            _("An operator notes what was tried, and that the application works."),
            Action.STAGE_ACCEPTED,
        ),
    ]
    before = (Action.STAGE_VERIFIED, Action.STAGE_CHECKED, Action.STAGE_APPROVED)
    return [
        ProcedureStep(
            say(title, place=place),
            text,
            [tick],
            production=production,
            voided=back if tick in before else (),
            optional=tick == Action.STAGE_CHECKED,
        )
        for title, text, tick in steps
    ]


_WRITTEN = ProcedureStep(
    _("Write the backup"), _("Every key is read and stored in R2, the manifest last."), [Action.GENERATION_COMPLETED]
)
_VERIFIED = ProcedureStep(
    _("Verify the backup"),
    _("Every object is read back and compared with the values that KV returned."),
    [Action.GENERATION_VERIFIED],
    voided=[Action.GENERATION_DAMAGED],
)
_COMPARED = ProcedureStep(
    _("Check against D1"),
    _("The backup is compared with D1 row by row, if a dataset relates the two."),
    [Action.CHECK_PASSED],
    voided=[Action.CHECK_FAILED],
    optional=True,
)

_FIRST = (
    Procedure(
        "backup_masters",
        1,
        _("Backup of master data"),
        [
            ProcedureStep(
                _("Export the master data"),
                _("The rows of D1 are written to R2 as backups/masters/YYYYMMDD.json."),
                [Action.GENERATION_COMPLETED],
            ),
            _VERIFIED,
            _COMPARED,
        ],
    ),
    Procedure(
        "backup_settings",
        1,
        _("Backup of settings"),
        [
            ProcedureStep(
                _("Write the encrypted backup"),
                _("Settings are encrypted, and the recovery steps are stored beside them. They never go to Git."),
                [Action.GENERATION_COMPLETED],
            ),
            _VERIFIED,
            ProcedureStep(
                _("Keep it in a second place"),
                _("1Password or other encrypted storage survives the loss of the bucket."),
                [Action.GENERATION_ELSEWHERE],
                optional=True,
            ),
        ],
    ),
    Procedure("backup_clinics", 1, _("Backup of old records, clinics and caches"), [_WRITTEN, _VERIFIED, _COMPARED]),
    Procedure(
        "cleanup",
        1,
        _("Clean-up"),
        [
            ProcedureStep(
                _("Ask for the clean-up"),
                _("One family, prefix or key is named, with the reason."),
                [Action.CLEANUP_REQUESTED],
            ),
            ProcedureStep(
                _("Search the code"),
                _("Every place that mentions the keys is found and answered."),
                [Action.REFERENCES_STATED, Action.REFERENCES_ANSWERED, Action.STAGE_SUBMITTED],
                optional=True,
            ),
            *_stage(production=False),
            *_stage(production=True),
            ProcedureStep(
                _("Check again after the clean-up"),
                _("The backup is compared with D1 once more, and the result stays in the runbook."),
                [Action.CHECK_PASSED],
                production=True,
                after=[Action.STAGE_CONFIRMED],
                optional=True,
            ),
        ],
    ),
    Procedure(
        "integrity_check",
        1,
        _("Integrity check"),
        [
            ProcedureStep(_("Start the check"), _("A backup or a file is compared with D1."), [Action.CHECK_STARTED]),
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
    ),
    Procedure(
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
    ),
    Procedure(
        "restore",
        1,
        _("Restore"),
        [
            ProcedureStep(
                _("Choose the keys"), _("The keys are chosen from a verified backup."), [Action.RESTORE_PREPARED]
            ),
            ProcedureStep(
                _("Compare with KV"),
                _("The preview shows which keys exist and which differ."),
                [Action.RESTORE_COMPARED],
            ),
            ProcedureStep(
                _("Approval"),
                _("Another person approves exactly these keys."),
                [Action.RESTORE_APPROVED],
                voided=[Action.RESTORE_RETURNED],
            ),
            ProcedureStep(
                _("Write and read back"),
                _("The values are written, and each is read back and compared."),
                [Action.RESTORE_FINISHED],
            ),
        ],
    ),
)

_UPKEEP = (
    Procedure(
        "drill",
        1,
        _("Restore drill"),
        [
            ProcedureStep(
                _("Start the drill"), _("A reviewer has approved the rule of the drills."), [Action.DRILL_STARTED]
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
    ),
    Procedure(
        "investigation",
        1,
        _("Investigation"),
        [
            ProcedureStep(
                _("Open the investigation"), _("A cache, a reason and an end are named."), [Action.INVESTIGATION_OPENED]
            ),
            _WRITTEN,
            _VERIFIED,
            ProcedureStep(
                _("Approval of the end"),
                _("Another person approves that the backup is deleted at the end."),
                [Action.APPROVAL_APPROVED],
            ),
            ProcedureStep(
                _("Delete the backup"), _("It is deleted at the end, object by object."), [Action.INVESTIGATION_OVER]
            ),
        ],
    ),
    Procedure(
        "prune",
        1,
        _("Prune of backups"),
        [
            ProcedureStep(
                _("Collect the backups"),
                _("Those that no rule, pin or work needs any more are listed, with the reason."),
                [Action.DISPOSAL_SUBMITTED],
            ),
            ProcedureStep(
                _("Approval"), _("Another person approves exactly these backups."), [Action.DISPOSAL_APPROVED]
            ),
            ProcedureStep(
                _("Delete the objects"),
                _("Each backup is looked at again before its objects are deleted."),
                [Action.DISPOSAL_FINISHED],
            ),
        ],
    ),
)

PROCEDURES: Mapping[str, Sequence[Procedure]] = {
    one.name: (one,) for one in (*_FIRST, *_UPKEEP, CHANGE, BULK_CHANGE, CLEARING, PEOPLE)
}
"""Name -> its versions, the oldest first. A version is never edited or removed, because entries name it."""


def current() -> list[Procedure]:
    """The newest version of each procedure."""
    return [versions[-1] for versions in PROCEDURES.values()]


def named(name: object, version: object) -> Procedure | None:
    """The procedure that an entry names; None if this version of the code does not know it."""
    versions = PROCEDURES.get(name, ()) if isinstance(name, str) else ()
    return next((one for one in versions if one.version == version), None)


def begun(name: str, binding: str, prefixes: Sequence[str]) -> dict[str, JSON]:
    """The details of the audit entry that begins an operation: the procedure, its version, and the families."""
    return begun_over(name, [(binding, prefixes)])


def begun_over(name: str, scopes: Iterable[tuple[str, Sequence[str]]]) -> dict[str, JSON]:
    """As `begun`, for an operation over several backups: the binding and the prefixes of each."""
    families: list[JSON] = [*dict.fromkeys(family for scope in scopes for family in _families(*scope))]
    return {"procedure": name, "version": PROCEDURES[name][-1].version, "families": families}


def _families(binding: str, prefixes: Sequence[str]) -> list[str]:
    ours = list(Family.objects.filter(binding=binding).order_by("pattern"))
    owners = key_families.Families(ours)
    found = {owner for prefix in prefixes if (owner := owners.family(prefix))}
    found |= {family for family in ours for prefix in prefixes if family.pattern.startswith(prefix)}
    return [f"{binding} {family}" for family in ours if family in found]
