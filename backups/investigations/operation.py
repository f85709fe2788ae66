"""The operation of investigations."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_lazy as _, pgettext_lazy

from audit.actions import Action
from backups.generations.operation import VERIFIED, WRITTEN
from backups.investigations import requests as investigation_requests, run, waiting
from kvops.approvals.lines import stands_until
from kvops.models import ApprovalRequest, Run
from kvops.operations import looks
from kvops.operations.parts import (
    BUCKET,
    FeatureOperation,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    Searched,
    SearchGroup,
    SubjectKind,
)


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = gettext("Prune the backup of investigation “%(title)s” in %(environment)s")
    return text % {"environment": environment, "title": shown["title"]}


_PROCEDURE = Procedure(
    "investigation",
    1,
    _("Investigation"),
    [
        ProcedureStep(
            _("Open the investigation"),
            _("A cache, a reason and an end are named."),
            [Action.INVESTIGATION_OPENED],
        ),
        WRITTEN,
        VERIFIED,
        ProcedureStep(
            _("Approval of the end"),
            _("Another person approves that the backup is deleted at the end."),
            [Action.APPROVAL_APPROVED],
        ),
        ProcedureStep(
            _("Delete the backup"),
            _("It is deleted at the end, object by object."),
            [Action.INVESTIGATION_OVER],
        ),
    ],
)

OPERATION = FeatureOperation(
    subjects={
        "investigation": SubjectKind(
            _("Investigation"),
            "backups:investigation",
            "backups.Investigation",
            children=[("generation", "investigation")],
            searched=Searched(SearchGroup.REQUESTS, ["title"], "title", "environment"),
        ),
    },
    requests={
        ApprovalRequest.Kind.INVESTIGATION: RequestKind(
            _title,
            BUCKET,
            lines=[stands_until],
            page=RequestPage(
                "backups:investigation",
                _("Go to the investigation"),
                _(
                    "The approval is in force: the backup is deleted when the investigation is closed, at its end at "
                    "the latest."
                ),
                _("The approval has expired. Ask again."),
            ),
        ),
    },
    runs={Run.Kind.PRUNE_INVESTIGATION: run.prune_investigation_permanently},
    resumed={
        Run.Kind.BACKUP: investigation_requests.insist_open,
        Run.Kind.PRUNE_INVESTIGATION: investigation_requests.insist_current,
    },
    procedures=[_PROCEDURE],
    begins={Action.INVESTIGATION_OPENED: "investigation"},
    looks=[investigation_requests.end_due],
    alarms=[waiting.alarms],
    steps=[waiting.steps],
    states={
        "investigation_open": looks.Look(pgettext_lazy("state", "Open"), *looks.STEP),
        "investigation_closed": looks.Look(_("Closed, backup not deleted yet"), *looks.CARE),
        "investigation_deleting": looks.Look(_("Backup being deleted"), "red", "loader-circle"),
        "investigation_over": looks.Look(_("Over, backup deleted"), *looks.GONE),
    },
)
