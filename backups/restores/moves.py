"""The moves of a restore and of a bulk change, and the conditions of every move."""

from collections.abc import Mapping
from contextlib import suppress

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import archive
from backups.execution.lifecycle import Lifecycle
from backups.models import Restore
from kvops.models import ApprovalRequest, Namespace, Run
from kvops.refusals import Refused
from kvops.wording import Words, columns, say

State = Restore.State


class RestoreRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


def _send_back(restore: Restore, actor: log.Actor, because: Words) -> None:
    """Move the row back to prepared, with the reason on its page."""
    returned = columns("returned_because", because)
    moves_of(restore).move(
        restore,
        [State.SUBMITTED, State.APPROVED],
        State.PREPARED,
        Action.BULK_RETURNED if restore.is_bulk else Action.RESTORE_RETURNED,
        actor=actor,
        values={"approval": None, **returned},
        details={"because": returned["returned_because"][:500]},
    )


def _moved(restore: Restore) -> str:
    sentence = _("This is not possible any more: the restore is %(state)s.")
    if restore.is_bulk:
        sentence = _("This is not possible any more: the bulk change is %(state)s.")
    return say(sentence, state=label(Restore.objects.get(pk=restore.pk)))


RESTORES = Lifecycle(
    model=Restore,
    name="restore",
    related=("generation__environment", "generation__namespace", "environment", "namespace"),
    kind=ApprovalRequest.Kind.RESTORE,
    run_kind=Run.Kind.RESTORE,
    running=State.WRITING,
    submitted=Action.RESTORE_SUBMITTED,
    approved=Action.RESTORE_APPROVED,
    started=Action.RESTORE_STARTED,
    label=lambda restore: str(restore)[:600],
    digest_of=lambda restore, given: given or restore.names_sha256,
    send_back=_send_back,
    refused=RestoreRefused,
    moved=_moved,
    not_approved=_("The restore is not approved: %(state)s."),
    not_stopped=_("Only a restore that was stopped or failed can be ended early. Stop it first."),
    resumed=_("The restore has already resumed. Load the page again."),
)
locked, move, insist_operator = RESTORES.locked, RESTORES.move, RESTORES.insist_operator


BULK_CHANGES = Lifecycle(
    model=Restore,
    name="bulkchange",
    related=("generation__environment", "generation__namespace", "environment", "namespace", "bulk__family"),
    kind=ApprovalRequest.Kind.BULK_CHANGE,
    run_kind=Run.Kind.BULK_CHANGE,
    running=State.WRITING,
    submitted=Action.BULK_SUBMITTED,
    approved=Action.BULK_APPROVED,
    started=Action.BULK_STARTED,
    label=lambda restore: str(restore)[:600],
    digest_of=lambda restore, given: given or restore.names_sha256,
    send_back=_send_back,
    refused=RestoreRefused,
    moved=_moved,
    not_approved=_("The bulk change is not approved: %(state)s."),
    not_stopped=_("Only a bulk change that was stopped or failed can be ended early. Stop it first."),
    resumed=_("The bulk change has already resumed. Load the page again."),
)


def moves_of(restore: Restore) -> Lifecycle[Restore]:
    """The moves of the row: those of a restore, or those of a bulk change."""
    return BULK_CHANGES if restore.is_bulk else RESTORES


def record_restore(
    action: Action,
    restore: Restore,
    *,
    actor: log.Actor,
    digest: str = "",
    details: Mapping[str, JSON] | None = None,
) -> None:
    """One audit entry about the restore or the bulk change, within the open transaction."""
    moves_of(restore).record(action, restore, actor=actor, digest=digest, details=details)


def insist_names(restore: Restore) -> None:
    """Raise RestoreRefused unless the frozen names match their digest."""
    names = restore.entries.order_by("index").values_list("name", flat=True)
    with suppress(archive.ManifestError):
        if archive.names_sha256(names.iterator(10_000)) == restore.names_sha256:
            return
    raise RestoreRefused(_("The list of keys changed after it was fixed. Have the database checked."))


def insist_alone(restore: Restore) -> None:
    """Raise RestoreRefused while a bulk change writes some of these keys; a bulk change waits for restores, too."""
    # Each start takes the same lock, so each of both sees the other.
    Namespace.objects.select_for_update(no_key=True).get(pk=restore.namespace_id)
    others = Restore.objects.writing_names_of(restore)
    found = (others if restore.is_bulk else others.exclude(operation="")).order_by("pk").first()
    if found is not None:
        page = reverse("backups:bulk_change" if found.is_bulk else "backups:restore", args=[found.pk])
        raise RestoreRefused(
            say(_("Some of these keys are being written: %(page)s. Start when that is done."), page=page)
        )


def label(restore: Restore) -> str | Promise:
    """The state of the restore in words."""
    return State(restore.state).label
