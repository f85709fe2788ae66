"""The operation of changes of a settings key and bulk changes of a cache."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit.actions import Action
from backups import policy
from backups.changes import requests as change_requests, reverse, review_key, run, waiting
from backups.changes.bulk import requests as bulk_requests, run as bulk_run, start as bulk_start
from backups.execution import revalidation
from backups.execution.evidence import backup_in_words
from kvops.approvals.lines import EvidenceLine, Shown, environment_name, limits, part, time_of
from kvops.approvals.titles import of_keys
from kvops.inventory import families
from kvops.models import ApprovalRequest, Run
from kvops.names import visible
from kvops.operations import looks
from kvops.operations.parts import (
    NAMESPACE,
    BadgeCount,
    DoctorCheck,
    FeatureOperation,
    OwnChange,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    Searched,
    SearchGroup,
    SubjectKind,
)


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = gettext("Change key %(key)s in %(environment)s %(namespace)s")
    if shown["new_key"]:
        text = gettext("Create key %(key)s in %(environment)s %(namespace)s")
    facts = {"key": visible(shown["prefix"]), "environment": environment, "namespace": shown["namespace_title"]}
    return text % facts


def _bulk_title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    keys = shown["names"]["count"]
    text = ngettext(
        "Set the expiration of %(n)s key %(pattern)s in %(environment)s %(namespace)s",
        "Set the expiration of %(n)s keys %(pattern)s in %(environment)s %(namespace)s",
        keys,
    )
    if shown["operation"] == "mark":
        text = ngettext(
            "Mark %(n)s key %(pattern)s in %(environment)s %(namespace)s for regeneration",
            "Mark %(n)s keys %(pattern)s in %(environment)s %(namespace)s for regeneration",
            keys,
        )
    return of_keys(text, shown, environment)


def _backed_up_first(shown: Shown) -> EvidenceLine:
    """The backup of what a change overwrites."""
    if shown.get("new_key"):
        return EvidenceLine(
            gettext("Nothing is overwritten"), gettext("the key is new"), True, "approvals/lines/_backup.html"
        )
    fine = part(shown, "generation.status") == "verified"
    return EvidenceLine(gettext("Can be restored"), backup_in_words(shown), fine, "approvals/lines/_backup.html")


def _changed_in_qa(shown: Shown) -> EvidenceLine:
    """The accepted change of the earlier environment that this one repeats."""
    qa, details = shown.get("qa"), "approvals/lines/_qa_change.html"
    if qa:
        said = f"{qa['accepted_by']} · {time_of(qa['accepted_at'])}"
        fine = "bulk_qa_differs" not in (shown.get("risks") or [])
        title = gettext("Done in %(environment)s") % {"environment": environment_name(qa["environment"])}
        return EvidenceLine(title, said, fine, details, quote=str(qa["note"]))
    if because := shown.get("no_qa_because"):
        return EvidenceLine(
            gettext("Not tried in QA first"), gettext("the reason:"), False, details, quote=str(because)
        )
    said = gettext("this environment comes before production")
    return EvidenceLine(gettext("First environment"), said, None, details)


_VERIFIED_OLD = ProcedureStep(
    _("Back up the old value"),
    _("It is in an encrypted backup that was read back. A new key has none."),
    [Action.GENERATION_VERIFIED],
    optional=True,
)

_CHANGE = Procedure(
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
        ProcedureStep(
            _("Erase the proposal"),
            _("The object with both values is deleted."),
            [Action.PROPOSAL_ERASED],
        ),
        ProcedureStep(
            _("Try the application"),
            _("An operator notes what was tried, and that the application works."),
            [Action.CHANGE_ACCEPTED],
            optional=True,
        ),
    ],
)

_BULK_CHANGE = Procedure(
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

OPERATION = FeatureOperation(
    subjects={
        "keychange": SubjectKind(
            _("Change of a key"),
            "backups:change",
            "backups.KeyChange",
            parents={"keychange": "reverses"},
            children=[("generation", "changes")],
            holds=["name"],
            searched=Searched(SearchGroup.REQUESTS, ["name"], "name", "environment"),
        ),
        "bulkchange": SubjectKind(
            _("Bulk change"),
            "backups:bulk_change",
            "backups.BulkChange",
            children=[("generation", "restores__bulk")],
            holds=["restore__entries__name"],
            searched=Searched(SearchGroup.REQUESTS, ["family__pattern"], "family__pattern", "restore__environment"),
        ),
    },
    requests={
        ApprovalRequest.Kind.PUT_KEY: RequestKind(
            _title,
            NAMESPACE,
            lines=[_backed_up_first, _changed_in_qa, limits],
            page=RequestPage(
                "backups:change",
                _("Go to the change"),
                _("An operator starts it on the page of the change."),
                _("The deadline for using the approval has passed. Withdraw it and prepare the change again."),
            ),
            decided=change_requests.decided,
            why_not=policy.why_edited,
            owners=families.owners_asked_about,
        ),
        ApprovalRequest.Kind.BULK_CHANGE: RequestKind(
            _bulk_title,
            NAMESPACE,
            lines=[_backed_up_first, _changed_in_qa, limits],
            page=RequestPage(
                "backups:bulk_change",
                _("Go to the bulk change"),
                _("An operator starts it on the page of the bulk change."),
                _("The deadline for using the approval has passed. Withdraw it and submit the bulk change again."),
            ),
            decided=bulk_requests.decided,
            why_not=policy.why_edited,
            owners=families.owners_asked_about,
        ),
    },
    runs={
        Run.Kind.CHANGE: run.run_change,
        Run.Kind.BULK_CHANGE: bulk_run.run_bulk_change,
        Run.Kind.REVERSE_CHANGE: reverse.prepare_reverse,
        Run.Kind.ERASE_PROPOSAL: run.erase_proposal,
    },
    after={Run.Kind.BACKUP: bulk_start.backup_finished, Run.Kind.VERIFY: bulk_start.verify_finished},
    resumed={Run.Kind.CHANGE: revalidation.revalidate, Run.Kind.BULK_CHANGE: revalidation.revalidate},
    procedures=[_CHANGE, _BULK_CHANGE],
    begins={Action.CHANGE_PREPARED: "keychange", Action.BULK_PREPARED: "bulkchange"},
    own_changes={OwnChange.WRITTEN: run.changed_by_us},
    doctor=[DoctorCheck(review_key.diagnosis)],
    steps=[waiting.steps],
    badges=[
        BadgeCount("changes", rows, _("waiting for you"), alarm=False, permission="kvops.operate")
        for rows in (waiting.to_take_on, waiting.bulk_to_take_on)
    ],
    states={
        "change_draft": looks.Look(_("Being prepared"), *looks.STEP),
        "change_ready": looks.Look(_("Ready to submit"), *looks.STEP),
        "change_submitted": looks.Look(_("Waits for approval"), *looks.WAITS),
        "change_approved": looks.Look(_("Approved"), *looks.GOOD),
        "change_writing": looks.Look(_("Writing"), *looks.BUSY),
        "change_to_accept": looks.Look(_("Written, to be tried"), *looks.WAITS),
        "change_done": looks.Look(_("Done"), *looks.GOOD),
        "change_ended": looks.Look(_("Given up"), *looks.OVER),
        "change_rejected": looks.Look(_("Rejected"), *looks.BAD),
        "change_withdrawn": looks.Look(_("Withdrawn"), "secondary", "undo-2"),
        "change_expired": looks.Look(_("Expired"), "secondary", "hourglass"),
        "bulk_preparing": looks.Look(_("Being backed up"), *looks.BUSY),
        "bulk_prepared": looks.Look(_("Backed up"), *looks.STEP),
        "bulk_submitted": looks.Look(_("Waits for approval"), *looks.WAITS),
        "bulk_approved": looks.Look(_("Approved"), *looks.GOOD),
        "bulk_writing": looks.Look(_("Writing"), *looks.BUSY),
        "bulk_to_accept": looks.Look(_("Written, to be tried"), *looks.WAITS),
        "bulk_done": looks.Look(_("Done"), *looks.GOOD),
        "bulk_ended": looks.Look(_("Given up"), *looks.OVER),
    },
)
