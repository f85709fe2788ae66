"""The operation of clean-ups."""

from collections.abc import Mapping
from typing import Any

from django.db.models import TextField, Value
from django.db.models.functions import Cast, Concat
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit.actions import Action
from backups import policy
from backups.cleanup import after_check, preparation, requests as cleanup_requests, sharing, stages
from backups.cleanup.pages import waiting
from backups.execution.evidence import backup_in_words, word_of
from backups.models import CleanupRequest
from kvops.approvals.evidence import follow_ups_open
from kvops.approvals.lines import (
    EvidenceLine,
    Shown,
    day_of,
    environment_name,
    keys_of,
    limits,
    number_of,
    part,
    warnings_of,
)
from kvops.approvals.titles import of_keys
from kvops.inventory import families
from kvops.models import ApprovalRequest, NotificationEvent, Run
from kvops.operations import looks
from kvops.operations.parts import (
    NAMESPACE,
    TEAM,
    BadgeCount,
    FeatureOperation,
    Notice,
    Procedure,
    ProcedureStep,
    RequestKind,
    RequestPage,
    Searched,
    SearchGroup,
    SubjectKind,
)
from kvops.wording import say


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = ngettext(
        "Delete %(n)s key %(pattern)s from %(environment)s %(namespace)s",
        "Delete %(n)s keys %(pattern)s from %(environment)s %(namespace)s",
        shown["names"]["count"],
    )
    return of_keys(text, shown, environment)


def _restorable(shown: Shown) -> EvidenceLine:
    """The backup of a deletion, its lock, and the undo that is approved with it."""
    lock, said = part(shown, "lock.state"), [backup_in_words(shown)]
    if lock == "held" and part(shown, "lock.forever"):
        said.append(gettext("locked by R2 for ever"))
    elif lock == "held":
        said.append(gettext("locked by R2 until %(day)s") % {"day": day_of(part(shown, "lock.locked_until"))})
    elif lock:
        said.append(word_of(f"lock_{lock}"))
    if hours := part(shown, "undo.hours"):
        said.append(gettext("an undo within %(n)s hours is approved with it") % {"n": hours})
    locked = lock == "held" or not any(str(risk).startswith("lock_") for risk in shown.get("risks") or [])
    fine = part(shown, "generation.status") == "verified" and locked
    return EvidenceLine(gettext("Can be restored"), gettext("; ").join(said), fine, "approvals/lines/_restorable.html")


def _against_d1(shown: Shown) -> EvidenceLine:
    check, title, details = shown.get("check"), gettext("Agrees with D1"), "approvals/lines/_check.html"
    if not check:
        return EvidenceLine(gettext("No rows in D1"), gettext("caches and settings are not in D1"), None, details)
    differences = check.get("differences") or 0
    rows = ngettext("%(n)s row", "%(n)s rows", check.get("rows") or 0) % {"n": number_of(check.get("rows"))}
    said = ngettext("%(keys)s, %(rows)s, %(n)s difference", "%(keys)s, %(rows)s, %(n)s differences", differences)
    said %= {"keys": keys_of(check.get("keys")), "rows": rows, "n": number_of(differences)}
    fine = check.get("outcome") == "passed" and not differences
    differs = gettext("Rows are newer in D1") if check.get("newer") else gettext("Differs from D1")
    return EvidenceLine(title if fine else differs, said, fine, details)


def _done_in_qa(shown: Shown) -> EvidenceLine:
    found, details = shown.get("qa") or [], "approvals/lines/_qa_stages.html"
    if not found:
        said = gettext("this is the first environment in the order of clean-up")
        return EvidenceLine(gettext("First environment"), said, None, details)
    warnings = warnings_of(shown, about_qa=True)
    said = gettext("; ").join(
        gettext("%(deleted)s of %(names)s deleted, %(n)s reappeared")
        % {
            "deleted": number_of(qa["deleted"]),
            "names": keys_of(qa["names"]),
            "n": number_of(qa.get("reappeared") or 0),
        }
        for qa in found
    )
    title = gettext("Done in %(environment)s") % {
        "environment": ", ".join(environment_name(qa["environment"]) for qa in found)
    }
    return EvidenceLine(title, said, not warnings, details, warnings, quote=str(found[-1]["note"]))


def _code(shown: Shown) -> EvidenceLine:
    title, details = gettext("Code references"), "approvals/lines/_code.html"
    if not part(shown, "references.search"):
        return EvidenceLine(title, gettext("The code was not searched."), False, details)
    hits, open_ = part(shown, "references.hits") or 0, part(shown, "references.unanswered") or 0
    code = str(part(shown, "references.search.commit") or part(shown, "references.search.version") or "")[:8]
    said = ngettext(
        "%(n)s place found, %(open)s without an answer", "%(n)s places found, %(open)s without an answer", hits
    ) % {"n": number_of(hits), "open": number_of(open_)}
    follow_ups = follow_ups_open(shown["references"])
    said += gettext("; ") + follow_ups if follow_ups else ""
    said += gettext("; ") + code if code else ""
    deployed = part(shown, "references.deployed.state") == "same"
    if not deployed:
        said += gettext("; ") + word_of(f"code_{part(shown, 'references.deployed.state')}")
    return EvidenceLine(title, said, deployed and not open_ and not follow_ups, details)


def _shared(shown: Shown) -> EvidenceLine:
    title, details = gettext("Shared with the team"), "approvals/lines/_shared.html"
    if not (place := part(shown, "shared.place")):
        return EvidenceLine(gettext("Not shared with the team"), gettext("no place is recorded"), False, details)
    return EvidenceLine(title, str(place), True, details)


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
        (
            _("%(place)s: approval"),
            _("Another person approves exactly this list of keys."),
            Action.STAGE_APPROVED,
        ),
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


_PROCEDURE = Procedure(
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
)


def _check_finished(run: Run) -> None:
    preparation.check_finished(run)
    after_check.check_finished(run)


OPERATION = FeatureOperation(
    subjects={
        "cleanup": SubjectKind(
            _("Clean-up"),
            "backups:cleanup",
            "backups.CleanupRequest",
            holds=["stages__entries__name"],
            searched=Searched(
                SearchGroup.REQUESTS,
                ["prefix", "ticket"],
                Concat(Cast("binding", TextField()), Value(" ", TextField()), Cast("prefix", TextField())),
                rows=lambda: CleanupRequest.objects.filter(clearing=None),
            ),
        ),
        "stage": SubjectKind(
            _("Stage"),
            "backups:stage",
            "backups.CleanupStage",
            parents={"cleanup": "request", "clearing": "request__clearing"},
            children=[("generation", "stages"), ("generation", stages.backups_of)],
        ),
    },
    requests={
        ApprovalRequest.Kind.DELETE_KEYS: RequestKind(
            _title,
            NAMESPACE,
            lines=[_restorable, _against_d1, _done_in_qa, _code, _shared, limits],
            page=RequestPage(
                "backups:stage",
                _("Go to the stage"),
                _("An operator starts the deletion on the page of the stage."),
                _("The deadline for using the approval has passed. Prepare and submit the stage again."),
            ),
            decided=cleanup_requests.decided,
            why_not=policy.why_edited,
            owners=families.owners_asked_about,
        ),
    },
    after={
        Run.Kind.BACKUP: preparation.backup_finished,
        Run.Kind.VERIFY: preparation.verify_finished,
        Run.Kind.CHECK: _check_finished,
    },
    notices={
        NotificationEvent.BACKUP_FOR_DELETION: Notice(channel=True, delivered=sharing.delivered),
        NotificationEvent.STAGE_DIFFERS: Notice(roles=TEAM, channel=True),
        NotificationEvent.ANSWER_CONTRADICTED: Notice(roles=TEAM, channel=True),
    },
    procedures=[_PROCEDURE],
    begins={Action.CLEANUP_REQUESTED: "cleanup"},
    alarms=[waiting.alarms],
    steps=[waiting.steps],
    badges=[
        BadgeCount("cleanup", waiting.waiting, _("waiting for an operator"), alarm=False, permission="kvops.operate"),
        BadgeCount("cleanup", waiting.wrong, _("with reappeared keys or differences")),
    ],
    states={
        "answer_unrelated": looks.Look(_("Unrelated"), *looks.QUIET),
        "answer_falls_back": looks.Look(_("Falls back safely"), *looks.GOOD),
        "answer_follow_up": looks.Look(_("Follow-up"), *looks.WAITS),
    },
)
