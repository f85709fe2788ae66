"""The operation of restores."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit.actions import Action
from backups import policy
from backups.execution import revalidation
from backups.execution.evidence import backup_in_words
from backups.models import Restore
from backups.restores import chunks, preview, requests as restore_requests, run
from kvops.approvals.lines import EvidenceLine, Shown, limits, number_of, part, time_of
from kvops.approvals.titles import of_keys
from kvops.models import ApprovalRequest, Person, Run
from kvops.names import visible
from kvops.operations import looks
from kvops.operations.parts import (
    NAMESPACE,
    BadgeCount,
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
from kvops.overview.lines import MOST, Line, step


def _title(_asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    text = ngettext(
        "Restore %(n)s key of backup %(backup)s into %(environment)s %(namespace)s",
        "Restore %(n)s keys of backup %(backup)s into %(environment)s %(namespace)s",
        shown["names"]["count"],
    )
    if shown["names"]["count"] == 1 and shown["names"]["first"]:
        text = gettext("Restore key %(pattern)s of backup %(backup)s into %(environment)s %(namespace)s")
    return of_keys(text, shown, environment)


def _titles(keys: Collection[int]) -> dict[int, str]:
    """The titles of these restores by key, in one query."""
    found = Restore.objects.naming().filter(pk__in=keys).select_related("environment", "namespace")
    return {
        one.pk: gettext("%(environment)s %(binding)s: %(names)s from backup %(backup)s")
        % {
            "environment": one.environment.name,
            "binding": one.namespace.binding,
            "names": _names(one),
            "backup": one.generation_id,
        }
        for one in found
    }


def _names(restore: Restore) -> str:
    if only := getattr(restore, "only_name", None):  # set by `Restore.objects.naming()`
        return visible(only)
    return gettext("listed names") if restore.listed else visible(f"{restore.prefix}*")


def _source_backup(shown: Shown) -> EvidenceLine:
    """The backup that a restore reads."""
    fine = part(shown, "generation.status") == "verified"
    return EvidenceLine(gettext("Source backup"), backup_in_words(shown), fine, "approvals/lines/_backup.html")


def _compared(shown: Shown) -> EvidenceLine:
    many = part(shown, "overwritten.count") or 0
    said = ngettext("%(n)s key is overwritten", "%(n)s keys are overwritten", many) % {"n": number_of(many)}
    said += gettext("; ") + gettext("compared at %(time)s") % {"time": time_of(part(shown, "compared.at"))}
    return EvidenceLine(gettext("Compared with KV"), said, not many, "approvals/lines/_compared.html")


_PROCEDURE = Procedure(
    "restore",
    1,
    _("Restore"),
    [
        ProcedureStep(
            _("Choose the keys"),
            _("The keys are chosen from a verified backup."),
            [Action.RESTORE_PREPARED],
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
)


def to_start(person: Person) -> QuerySet[Restore]:
    """Approved restores, of deletions too, that the person may start."""
    approved = Restore.objects.restoring().filter(state=Restore.State.APPROVED, approval__use_by__gt=Now())
    return approved.exclude(approval__approver=person)


def steps(person: Person) -> Iterator[Line]:
    """The restores that the person starts."""
    for restore in to_start(person).select_related("environment", "approval").order_by("pk")[:MOST]:
        subject = ngettext("%(n)s key from backup %(pk)s", "%(n)s keys from backup %(pk)s", restore.names) % {
            "n": number_format(restore.names, force_grouping=True),
            "pk": restore.generation_id,
        }
        url = reverse("backups:restore", args=[restore.pk])
        by = restore.approval.use_by if restore.approval else None
        yield step(restore.environment, gettext("Start the restore"), subject, url, since=restore.created_at, by=by)


OPERATION = FeatureOperation(
    subjects={
        "restore": SubjectKind(
            _("Restore"),
            "backups:restore",
            "backups.Restore",
            parents={"stage": "stage", "generation": "generation"},
            children=[("generation", "safe_restores")],
            holds=["entries__name"],
            titled=_titles,
            searched=Searched(
                SearchGroup.REQUESTS, ["prefix"], "prefix", "environment", rows=Restore.objects.restoring
            ),
        ),
    },
    requests={
        ApprovalRequest.Kind.RESTORE: RequestKind(
            _title,
            NAMESPACE,
            lines=[_source_backup, _compared, limits],
            page=RequestPage(
                "backups:restore",
                _("Go to the restore"),
                _("An operator starts it on the page of the restore."),
                _("The deadline for using the approval has passed. Withdraw it and submit the restore again."),
            ),
            decided=restore_requests.decided,
            why_not=policy.why_edited,
        ),
    },
    runs={Run.Kind.PREVIEW: preview.preview, Run.Kind.RESTORE: run.run_restore, Run.Kind.UNDO: run.run_restore},
    resumed={Run.Kind.RESTORE: revalidation.revalidate, Run.Kind.UNDO: revalidation.revalidate},
    procedures=[_PROCEDURE],
    begins={Action.RESTORE_PREPARED: "restore"},
    quiet=[Action.RESTORE_CHUNK_INTENDED, Action.RESTORE_CHUNK_SETTLED],
    figures={
        "absent": _("Not in KV"),
        "equal": _("In KV and equal"),
        "value": _("In KV with another value"),
        "metadata": _("In KV with other metadata"),
        "expiration": _("In KV with another expiration"),
        "sensitive": _("In KV and different, cannot be backed up first"),
        "soon": _("Less than a minute left"),
        "unreadable": _("Cannot be read: Cloudflare refuses its name"),
        "written": _("Restored"),
        "left": _("Not restored"),
        "different": _("Different in the comparison after the write"),
        "failed": _("Not in KV after three attempts"),
        "stopped": _("Left as it is: the run was ended early"),
    },
    own_changes={OwnChange.WRITTEN: chunks.restored_by_us},
    steps=[steps],
    badges=[
        BadgeCount("restores", to_start, _("waiting for you"), alarm=False, permission="kvops.operate"),
    ],
    states={
        "restore_preparing": looks.Look(_("Being compared with KV"), *looks.BUSY),
        "restore_prepared": looks.Look(_("Compared with KV"), *looks.STEP),
        "restore_submitted": looks.Look(_("Waits for approval"), *looks.WAITS),
        "restore_approved": looks.Look(_("Approved"), *looks.GOOD),
        "restore_writing": looks.Look(_("Writing"), *looks.BUSY),
        "restore_done": looks.Look(_("Done"), *looks.GOOD),
        "restore_ended": looks.Look(_("Given up"), *looks.OVER),
    },
)
