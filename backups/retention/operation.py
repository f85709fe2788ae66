"""The operation of retention and prune requests."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import Value
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit.actions import Action
from backups import policy
from backups.models import PruneRequest
from backups.retention import notices, requests as prune_requests, run, waiting
from kvops.approvals.lines import EvidenceLine, Shown, part
from kvops.approvals.titles import number_of
from kvops.models import ApprovalRequest, NotificationEvent, Role, Run
from kvops.operations import looks
from kvops.operations.parts import (
    BUCKET,
    TEAM,
    BadgeCount,
    FeatureOperation,
    Notice,
    NoticeReason,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    ScheduledJob,
    Searched,
    SearchGroup,
    SubjectKind,
)


def _titles(keys: Collection[int]) -> dict[int, str]:
    """The titles of these prune requests by key, in one query."""
    return {
        one.pk: ngettext("%(environment)s: %(n)s backup", "%(environment)s: %(n)s backups", one.generations)
        % {"environment": one.environment.name, "n": number_format(one.generations, force_grouping=True)}
        for one in PruneRequest.objects.filter(pk__in=keys).select_related("environment")
    }


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = ngettext(
        "Prune %(n)s expired backup of %(environment)s",
        "Prune %(n)s expired backups of %(environment)s",
        shown["generations"]["count"],
    )
    return text % {"n": number_of(shown["generations"]["count"]), "environment": environment}


def _replaced(shown: Shown) -> EvidenceLine:
    """Every backup that is pruned, and the newer ones that cover it."""
    backups = part(shown, "generations.list") or []
    fine = all(one.get("newer") for one in backups)
    said = (
        gettext("a newer verified backup covers the whole scope of each")
        if fine
        else gettext("not each has a newer one")
    )
    return EvidenceLine(gettext("Replaced by newer backups"), said, fine, "approvals/lines/_pruned.html")


_PROCEDURE = Procedure(
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
            _("Approval"),
            _("Another person approves exactly these backups."),
            [Action.DISPOSAL_APPROVED],
        ),
        ProcedureStep(
            _("Delete the objects"),
            _("Each backup is looked at again before its objects are deleted."),
            [Action.DISPOSAL_FINISHED],
        ),
    ],
)

OPERATION = FeatureOperation(
    subjects={
        "prune": SubjectKind(
            _("Prune request"),
            "backups:prune",
            "backups.PruneRequest",
            children=[("generation", "prunes__prune")],
            titled=_titles,
            searched=Searched(SearchGroup.REQUESTS, [], Value(""), "environment"),
        ),
    },
    requests={
        ApprovalRequest.Kind.DELETE_GENERATIONS: RequestKind(
            _title,
            BUCKET,
            lines=[_replaced],
            page=RequestPage(
                "backups:prune",
                _("Go to the prune request"),
                _("An operator starts the prune run on the page of the prune request."),
                _("The deadline for using the approval has passed. Withdraw it and collect the backups again."),
            ),
            decided=prune_requests.decided,
            why_not=policy.why_edited,
        ),
    },
    runs={Run.Kind.PRUNE: run.prune_permanently},
    jobs={
        "deadlines": ScheduledJob(_("Notices before backups are deleted"), notices.before_deletion, "7 8 * * *"),
        "lateness": ScheduledJob(_("Notices of late backups"), notices.in_time, "23 * * * *"),
    },
    notices={
        NotificationEvent.GENERATION_LATE: Notice(roles=(Role.OPERATOR,), channel=True),
        NotificationEvent.GENERATION_OVERDUE: Notice(roles=TEAM, channel=True),
        NotificationEvent.GENERATION_DEADLINE: Notice(roles=TEAM, channel=True, reason=NoticeReason.DEADLINE),
        NotificationEvent.GENERATION_PAST_DEADLINE: Notice(roles=TEAM, channel=True, reason=NoticeReason.DEADLINE),
        NotificationEvent.COVERAGE_SHORT: Notice(roles=TEAM, channel=True),
    },
    procedures=[_PROCEDURE],
    begins={Action.DISPOSAL_SUBMITTED: "prune"},
    quiet=[Action.OBJECT_DELETING],
    figures={
        "deleted_backups": _("Backups deleted"),
        "kept_backups": _("Backups kept"),
    },
    steps=[waiting.steps],
    badges=[
        BadgeCount("retention", waiting.prunes_to_start, _("waiting for you"), alarm=False, permission="kvops.operate"),
    ],
    states={
        "kept_due": looks.Look(_("Can be deleted"), "red", "calendar-x"),
        "kept_waiting": looks.Look(_("Kept until its date"), *looks.WAITS),
        "kept_held": looks.Look(_("Held"), "purple", "pin"),
        "kept_newest": looks.Look(_("Kept: nothing newer"), *looks.PROVEN),
        "kept_no_rule": looks.Look(_("Kept: without a rule"), *looks.CARE),
        "kept_writing": looks.Look(_("Writing"), *looks.BUSY),
        "kept_investigation": looks.Look(_("Kept for an investigation"), *looks.WAITS),
        "prune_submitted": looks.Look(_("Waits for approval"), *looks.WAITS),
        "prune_approved": looks.Look(_("Approved"), *looks.GOOD),
        "prune_deleting": looks.Look(_("Deleting"), "red", "loader-circle"),
        "prune_done": looks.Look(_("Done"), *looks.GOOD),
        "prune_ended": looks.Look(_("Ended"), *looks.OVER),
        "pruned_planned": looks.Look(_("To be deleted"), *looks.WAITS),
        "pruned_deleted": looks.Look(_("Deleted"), *looks.GONE),
        "pruned_kept": looks.Look(_("Kept"), "purple", "pin"),
    },
)
