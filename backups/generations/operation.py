"""The operation of backups."""

from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Cast, Concat
from django.utils.translation import gettext_lazy as _

from audit.actions import Action
from backups.generations import announcements, coverage, diagnosis, export, routine, start, values
from backups.models import Generation
from kvops.models import NotificationEvent, Role, Run
from kvops.operations import looks
from kvops.operations.parts import (
    TEAM,
    BackupRead,
    DoctorCheck,
    FeatureOperation,
    Notice,
    Procedure,
    ProcedureStep,
    Question,
    ScheduledJob,
    Searched,
    SearchGroup,
    SubjectKind,
)

WRITTEN = ProcedureStep(
    _("Write the backup"), _("Every key is read and stored in R2, the manifest last."), [Action.GENERATION_COMPLETED]
)
VERIFIED = ProcedureStep(
    _("Verify the backup"),
    _("Every object is read back and compared with the values that KV returned."),
    [Action.GENERATION_VERIFIED],
    voided=[Action.GENERATION_DAMAGED],
)
COMPARED = ProcedureStep(
    _("Check against D1"),
    _("The backup is compared with D1 row by row, if a dataset relates the two."),
    [Action.CHECK_PASSED],
    voided=[Action.CHECK_FAILED],
    optional=True,
)

_PROCEDURES = [
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
            VERIFIED,
            ProcedureStep(
                _("Keep it in a second place"),
                _("1Password or other encrypted storage survives the loss of the bucket."),
                [Action.GENERATION_ELSEWHERE],
                optional=True,
            ),
        ],
    ),
    Procedure("backup_clinics", 1, _("Backup of old records, clinics and caches"), [WRITTEN, VERIFIED, COMPARED]),
]

_LISTED = "(SELECT string_agg(one, ', ') FROM jsonb_array_elements_text(%(expressions)s) one)"
"""The texts of a JSON list, in one line."""

OPERATION = FeatureOperation(
    subjects={
        "generation": SubjectKind(
            _("Backup"),
            "backups:generation",
            "backups.Generation",
            children=[("run", "generation")],
            searched=Searched(
                SearchGroup.BACKUPS,
                ["prefixes"],
                Concat(
                    Cast("namespace__binding", TextField()),
                    Value(" ", TextField()),
                    Func(F("prefixes"), template=_LISTED, output_field=TextField()),
                ),
                "environment",
            ),
        ),
    },
    runs={Run.Kind.BACKUP: export.export, Run.Kind.VERIFY: start.read_back},
    after={Run.Kind.BACKUP: start.backup_finished},
    jobs={
        "backup": ScheduledJob(_("Routine backups by family"), routine.back_up_due, "7 2 * * *", ahead=True),
        "verify": ScheduledJob(_("Verification of the newest backups"), routine.verify_newest, "37 4 * * 0"),
    },
    notices={
        NotificationEvent.GENERATION_MADE: Notice(channel=True),
        NotificationEvent.GENERATION_FAILED: Notice(roles=(Role.OPERATOR,), channel=True),
        NotificationEvent.GENERATION_DAMAGED: Notice(roles=TEAM, channel=True),
    },
    procedures=_PROCEDURES,
    begins={Action.GENERATION_STARTED: "generation"},
    figures={
        "generation": _("Backup"),
        "status": _("Status"),
        "expired": _("Expired meanwhile"),
        "vanished": _("Vanished meanwhile"),
        "problem": _("Problem"),
        "deployed": _("Deployed Workers and Pages projects"),
        "search": _("Search of code references"),
    },
    reads=[BackupRead(Generation.objects.all, "pk", run="verify_run")],
    doctor=[
        DoctorCheck(diagnosis.recipients_and_identity),
        DoctorCheck(diagnosis.offline_identity),
        DoctorCheck(diagnosis.digest_key),
    ],
    alarms=[announcements.alarms],
    answers={Question.BACKUP_AGES: coverage.ages, Question.KEY_SIZES: values.sizes_of},
    states={
        "light_on_time": looks.Look(_("On time"), *looks.GOOD),
        "light_late": looks.Look(_("Late"), *looks.CARE),
        "light_overdue": looks.Look(_("Overdue"), *looks.BAD),
        "light_first": looks.Look(_("First backup to come"), *looks.QUIET),
        "light_unexpected": looks.Look(_("No backup expected"), *looks.QUIET),
    },
)
