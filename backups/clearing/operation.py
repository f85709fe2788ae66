"""The operation of scheduled clearing."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Exists
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy as _

from audit.actions import Action
from backups import policy
from backups.clearing import rounds, rules, run
from backups.models import Clearing, ClearingRound
from kvops.approvals import standing
from kvops.approvals.lines import at_most, stands_until
from kvops.models import ApprovalRequest, NotificationEvent, Person, Run
from kvops.names import visible
from kvops.operations import looks
from kvops.operations.parts import (
    NAMESPACE,
    TEAM,
    FeatureOperation,
    Notice,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    ScheduledJob,
    SubjectKind,
)
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST, Line, step


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = gettext("Clear %(pattern)s in %(environment)s %(namespace)s by a schedule")
    pattern = f"{visible(shown['prefix'])}*"
    return text % {"pattern": pattern, "environment": environment, "namespace": shown["namespace_title"]}


_PROCEDURE = Procedure(
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


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """An alarm for each rule in force whose newest round stopped."""
    rounds = ClearingRound.objects.filter(clearing__retired_at=None).order_by("clearing", "-pk").distinct("clearing")
    for newest in rounds.select_related("run", "stage", "clearing__namespace__environment"):
        if newest.state == "stopped":
            title = gettext("The scheduled clearing of %(what)s stopped") % {"what": newest.clearing}
            url = reverse("backups:clearing", args=[newest.clearing_id])
            yield Alarm("danger", "clearing.stopped", title, newest.shown_reason, url, gettext("See details"))


def steps(_person: Person) -> Iterator[Line]:
    """The rules that no approval is asked for or in force for: they do not run."""
    without = Clearing.objects.filter(~Exists(standing.covering(rules.KIND, "clearing")), retired_at=None)
    for rule in without.select_related("namespace__environment", "family").order_by("pk")[:MOST]:
        url = reverse("backups:clearing", args=[rule.pk])
        title = gettext("Ask for the approval of the rule")
        yield step(rule.namespace.environment, title, str(rule), url, since=rule.made_at)


OPERATION = FeatureOperation(
    subjects={
        "clearing": SubjectKind(_("Scheduled clearing"), "backups:clearing", "backups.Clearing"),
    },
    requests={
        ApprovalRequest.Kind.CLEARING: RequestKind(
            _title,
            NAMESPACE,
            lines=[stands_until, at_most],
            page=RequestPage(
                "backups:clearing",
                _("Go to the rule"),
                _("The approval is in force: each round until then uses it."),
                _("The approval has expired. Ask again."),
            ),
            why_not=policy.why_edited,
        ),
    },
    runs={Run.Kind.CLEAR: run.clear_keys_permanently},
    after={Run.Kind.CONFIRM: rounds.confirm_finished},
    resumed={Run.Kind.CLEAR: rounds.insist_begun},
    jobs={
        "clearing": ScheduledJob(
            _("Scheduled clearing of a cache"),
            rounds.scheduled,
            "30 3 * * *",
            of_subjects=True,
            refused=NotificationEvent.CLEARING_STOPPED,
            unpaused=rounds.insist_not_retired,
        ),
    },
    notices={NotificationEvent.CLEARING_STOPPED: Notice(roles=TEAM, channel=True)},
    procedures=[_PROCEDURE],
    begins={Action.CLEARING_STARTED: "clearing"},
    alarms=[alarms],
    steps=[steps],
    states={
        "clearing_running": looks.Look(_("Running"), *looks.BUSY),
        "clearing_proving": looks.Look(_("Deleted, being proven"), *looks.BUSY),
        "clearing_cleared": looks.Look(_("Cleared"), *looks.PROVEN),
        "clearing_ended": looks.Look(_("Ended early"), *looks.OVER),
        "clearing_nothing": looks.Look(_("Nothing to clear"), *looks.QUIET),
        "clearing_stopped": looks.Look(_("Stopped"), "red", "octagon-pause"),
    },
)
