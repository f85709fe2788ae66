"""Restores: prepared from a verified backup (`selection`), approved by another person, written (`run`).

Each move is one conditional UPDATE and one audit entry. A command only prepares; a signed-in operator submits.
"""

from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import Generation, Restore
from backups.restores import cross_environment, evidence as restore_evidence
from backups.restores.moves import RestoreRefused, insist_names, insist_operator, label, locked, move
from backups.restores.selection import insist_source
from kvops import timing
from kvops.approvals import evidence, gate as approval_gate
from kvops.models import ApprovalRequest, Person, Run
from kvops.runs import driver as run_driver
from kvops.wording import english, say

State = Restore.State
OnConflict = Restore.OnConflict


def submit(restore: Restore, *, reason: str, by: Person) -> ApprovalRequest:
    """Ask another person to approve exactly this restore. prepared -> submitted. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(restore)
        if mine.state != State.PREPARED:
            raise RestoreRefused(say(_("The restore is not ready to submit: %(state)s."), state=label(mine)))
        if not reason.strip():
            raise RestoreRefused(_("Give the reason for restoring these keys. The reviewer reads it."))
        insist_source(mine.generation, mine.namespace)
        cross_environment.insist_all(mine)
        _insist_compared(mine)
        mine.reason = reason.strip()
        approval = approval_gate.submit(
            ApprovalRequest.Kind.RESTORE,
            subject=f"restore:{mine.pk}",
            title=restore_evidence.title(mine),
            evidence=restore_evidence.build(mine),
            requester=by,
            environment=mine.environment,
        )
        move(
            mine,
            [State.PREPARED],
            State.SUBMITTED,
            Action.RESTORE_SUBMITTED,
            actor=by.actor,
            digest=approval.digest,
            values={"approval": approval, "reason": mine.reason, "returned_because": ""},
        )
    return approval


def _insist_compared(restore: Restore) -> None:
    """The comparison is not too old, leaves something to do, and finds nothing that the choice forbids."""
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


def decided(request: ApprovalRequest) -> None:
    """Hook of the gate: approved moves the restore on; anything else leads back to prepared."""
    restore = Restore.objects.filter(approval=request, stage=None).select_related("environment", "namespace").first()
    if restore is None:
        return
    # Who withdrew it is in the entry of the withdrawal; it was not the approver.
    decision = request.state in {ApprovalRequest.State.APPROVED, ApprovalRequest.State.REJECTED}
    actor = request.approver.actor if decision and request.approver else log.Actor.system("approvals")
    if request.state == ApprovalRequest.State.APPROVED:
        move(restore, [State.SUBMITTED], State.APPROVED, Action.RESTORE_APPROVED, actor=actor, digest=request.digest)
    elif restore.state in {State.SUBMITTED, State.APPROVED}:
        because = f"The request is {english(ApprovalRequest.State(request.state).label)}. {request.reason}"
        move(
            restore,
            [State.SUBMITTED, State.APPROVED],
            State.PREPARED,
            Action.RESTORE_RETURNED,
            actor=actor,
            values={"approval": None, "returned_because": because.strip()[:1000]},
            details={"because": because.strip()[:500]},
        )


def start(restore: Restore, *, by: Person) -> Run:
    """Approved -> writing: claims the approval and creates the run in one transaction.

    Raises RestoreRefused and ApprovalRefused when a right, the time or the evidence no longer holds: then nothing
    was started. Stale evidence also leads the restore back to prepared.
    """
    with log.transaction():
        mine = locked(restore)
        if mine.state != State.APPROVED or mine.approval is None:
            raise RestoreRefused(say(_("The restore is not approved: %(state)s."), state=label(mine)))
        insist_operator(by)
        # Its status is part of the evidence: a copy found damaged from here on waits until the run is there.
        Generation.objects.select_for_update(of=("self",)).get(pk=mine.generation_id)
        insist_names(mine)
        digest = evidence.digest_of(evidence.canonical_evidence(restore_evidence.build(mine)))
        if digest == mine.approval.digest:
            return _claim_and_run(mine, mine.approval, by=by)
    stale = "The keys to restore differ from the approved ones."
    approval_gate.withdraw(mine.approval, by=by, reason=stale)
    raise RestoreRefused(_("The keys to restore differ from the approved ones. Compare and submit them again."))


def _claim_and_run(mine: Restore, approved: ApprovalRequest, *, by: Person) -> Run:
    approval = approval_gate.claim(
        approved, kind=ApprovalRequest.Kind.RESTORE, subject=f"restore:{mine.pk}", digest=approved.digest, by=by
    )
    run = run_driver.create(
        Run.Kind.RESTORE,
        subject=f"restore:{mine.pk}",
        label=str(mine)[:300],
        actor=by.actor,
        person=by,
        environment=mine.environment,
        approval=approval,
        total=mine.names,
    )
    move(
        mine,
        [State.APPROVED],
        State.WRITING,
        Action.RESTORE_STARTED,
        actor=by.actor,
        digest=approval.digest,
        values={"run": run},
    )
    return run


def give_up(restore: Restore, *, actor: log.Actor) -> None:
    """End a restore that was not submitted. Raises RestoreRefused."""
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
    """Write nothing more of a stopped or failed restore; what was sent is still compared. Raises RestoreRefused."""
    with log.transaction():
        insist_operator(by)
        mine = locked(restore)
        if mine.state != State.WRITING or mine.run is None or mine.run.state not in Run.RESUMABLE:
            raise RestoreRefused(_("Only a restore that was stopped or failed can be ended early. Stop it first."))
        ending = {"phase": "write", "ending": True}
        if Run.objects.filter(pk=mine.run.pk, state__in=Run.RESUMABLE).update(cursor=ending) != 1:
            raise RestoreRefused(_("The restore has already resumed. Load the page again."))
        run_driver.go_on(mine.run, actor=by.actor)
