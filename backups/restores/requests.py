"""Restores: prepared from a verified backup (`selection`), approved by another person, written (`run`).

Each move is one conditional UPDATE and one audit entry. A command only prepares; a signed-in operator submits.
"""

from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import Restore
from backups.restores import cross_environment, evidence as restore_evidence, undo as stage_undo
from backups.restores.moves import (
    RESTORES,
    RestoreRefused,
    insist_alone,
    insist_names,
    insist_operator,
    label,
    locked,
    move,
)
from backups.restores.selection import insist_source
from kvops import timing
from kvops.approvals import evidence
from kvops.models import ApprovalRequest, Person, Run
from kvops.wording import columns, insist_explained, say

State = Restore.State
OnConflict = Restore.OnConflict
decided = RESTORES.decided


def submit(restore: Restore, *, reason: str, by: Person) -> ApprovalRequest:
    """Ask another person to approve exactly this restore: prepared -> submitted. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(restore)
        if mine.state != State.PREPARED:
            raise RestoreRefused(say(_("The restore is not ready to submit: %(state)s."), state=label(mine)))
        insist_explained(reason, RestoreRefused, _("Give the reason for restoring these keys. The reviewer reads it."))
        insist_source(mine.generation, mine.namespace)
        cross_environment.insist_all(mine)
        _insist_compared(mine)
        mine.reason = reason.strip()
        return RESTORES.submit(
            mine,
            State.PREPARED,
            title=restore_evidence.title(mine),
            evidence=restore_evidence.build(mine),
            by=by,
            values={"reason": mine.reason, **columns("returned_because", "")},
        )


def _insist_compared(restore: Restore) -> None:
    """Check that the comparison is recent, leaves work to do, and has no conflict that the choice forbids."""
    fresh = Now() - timedelta(seconds=timing.SCAN_FRESH)
    if not Restore.objects.filter(pk=restore.pk, compared_at__gte=fresh).exists():
        raise RestoreRefused(_("The keys were compared with KV more than a day ago. Compare again."))
    if restore.on_conflict == OnConflict.STOP and restore.conflicts:
        sentence = _(
            "Existing keys that differ from the backup: %(count)s. This restore writes nothing in that case; prepare "
            "another restore that leaves or overwrites them."
        )
        raise RestoreRefused(say(sentence, count=restore.conflicts))
    if not restore.found.get("absent") and not restore.overwritten:
        raise RestoreRefused(_("There is nothing to write: every key is in KV or past its expiration."))


def start(restore: Restore, *, by: Person) -> Run:
    """Approved -> writing: claim the approval and create the run in one transaction.

    Raises RestoreRefused and ApprovalRefused if a right, the time or the evidence is no longer valid; then nothing is
    started. Stale evidence also moves the restore back to prepared.
    """
    return RESTORES.start(
        restore,
        by=by,
        insist=insist_alone,
        derive=_digest,
        stale=lambda _restore: (
            _("The keys to restore differ from the approved ones."),
            _("The keys to restore differ from the approved ones. Compare and submit them again."),
        ),
        total=lambda mine: mine.names,
        begun=stage_undo.link_deletions,
    )


def _digest(restore: Restore) -> str:
    insist_names(restore)
    return evidence.digest_of(evidence.canonical_evidence(restore_evidence.build(restore)))


def give_up(restore: Restore, *, actor: log.Actor) -> None:
    """Cancel a restore that was not submitted. Raises RestoreRefused."""
    with log.transaction():
        move(
            locked(restore),
            [State.PREPARING, State.PREPARED],
            State.ENDED,
            Action.RESTORE_ENDED,
            actor=actor,
            values={"finished_at": Now()},
        )


def end_early(restore: Restore, *, by: Person) -> None:
    """End a stopped or failed restore early: sent names are still compared, no further name is written.

    Raises RestoreRefused.
    """
    RESTORES.end_early(restore, lambda _restore, _run: {"phase": "write", "ending": True}, by=by)
