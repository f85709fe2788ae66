"""The operation of investigations."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Exists
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy as _, ngettext, pgettext_lazy

from audit.actions import Action
from backups.generations.operation import VERIFIED, WRITTEN
from backups.investigations import requests as investigation_requests, run
from backups.models import Investigation
from kvops.approvals import standing
from kvops.approvals.lines import stands_until
from kvops.models import ApprovalRequest, Person, Run
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
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm, first_of
from kvops.overview.lines import MOST, Line, step


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


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """One alarm for all investigations whose backup still exists an hour after their end."""
    late = list(investigation_requests.past_their_end())
    if late:
        title = ngettext(
            "The backup of %(n)s investigation should have been deleted",
            "The backups of %(n)s investigations should have been deleted",
            len(late),
        ) % {"n": len(late)}
        text, since = first_of([one.title for one in late]), min(one.ends_at for one in late)
        url = reverse("backups:investigations")
        yield Alarm("warning", "investigation.past_end", title, text, url, gettext("See details"), since)


def steps(_person: Person) -> Iterator[Line]:
    """The investigations whose backup nobody may delete at their end: no approval is asked for or in force."""
    covered = Exists(standing.covering(investigation_requests.KIND, "investigation"))
    without = Investigation.objects.there().filter(~covered)
    for one in without.select_related("environment").order_by("pk")[:MOST]:
        url = reverse("backups:investigation", args=[one.pk])
        title = gettext("Ask for the approval to delete its backup")
        yield step(one.environment, title, one.title, url, since=one.created_at)


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
    alarms=[alarms],
    steps=[steps],
    states={
        "investigation_open": looks.Look(pgettext_lazy("state", "Open"), *looks.STEP),
        "investigation_closed": looks.Look(_("Closed, backup not deleted yet"), *looks.CARE),
        "investigation_deleting": looks.Look(_("Backup being deleted"), "red", "loader-circle"),
        "investigation_over": looks.Look(_("Over, backup deleted"), *looks.GONE),
    },
)
