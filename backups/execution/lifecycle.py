"""The life that a stage, a restore, a change and a prune request share: submitted, decided, started, ended early.

Each move is one conditional UPDATE and one audit entry. What differs between them is an attribute of `Lifecycle`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.models import CleanupStage, Generation, KeyChange, PruneRequest, Restore
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.wording import Words, say

SUBMITTED, APPROVED = "submitted", "approved"
"""States with the same name in all models."""


@dataclass(frozen=True, kw_only=True)
class Lifecycle[Work: (CleanupStage, KeyChange, PruneRequest, Restore)]:
    """The moves of the rows of one model. A refusal is raised as an exception of the class `refused`."""

    model: type[Work]
    name: str
    """The first part of a row's subject in the audit log, at the gate and for its run."""
    related: tuple[str, ...]
    kind: ApprovalRequest.Kind
    run_kind: Run.Kind
    running: str
    """The state while the run works."""

    submitted: Action
    approved: Action
    started: Action
    label: Callable[[Work], str] = str
    digest_of: Callable[[Work, str], str]
    """The digest for an audit entry, from the row and the digest that the move names."""
    send_back: Callable[[Work, log.Actor, Words], None]
    """Move the row out of `submitted` or `approved`, with the reason: a rejected, withdrawn or expired request."""

    refused: type[Refused]
    moved: Callable[[Work], str | Promise]
    """The text of the refusal if another process moved the row first."""
    not_approved: Promise
    """A sentence with the state, for a row that is not approved when it is started."""
    not_stopped: str | Promise
    resumed: str | Promise

    def subject(self, work: Work) -> str:
        """The subject of the row in the audit log, at the gate and for its run."""
        return f"{self.name}:{work.pk}"

    def locked(self, work: Work) -> Work:
        """The current row, locked until the open transaction ends."""
        rows = self.model.objects.select_for_update(of=("self",)).select_related(*self.related)
        return rows.get(pk=work.pk)

    def insist_operator(self, by: Person | log.Actor) -> None:
        """Raise a refusal if a person is no operator. A command may prepare, but neither submit nor start."""
        if isinstance(by, Person) and not by.holds(Role.OPERATOR):
            raise self.refused(_("Only an operator can do this."))

    def move(
        self,
        work: Work,
        expected: Sequence[str],
        to: str,
        action: Action,
        *,
        actor: log.Actor,
        digest: str = "",
        values: Mapping[str, object] | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """One conditional UPDATE and one audit entry. Raises a refusal if another process moved the row first."""
        changed = self.model.objects.filter(pk=work.pk, state__in=expected).update(state=to, **(values or {}))
        if changed != 1:
            raise self.refused(self.moved(work))
        self.record(action, work, actor=actor, digest=digest, details=details)

    def record(
        self,
        action: Action,
        work: Work,
        *,
        actor: log.Actor,
        digest: str = "",
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """One audit entry about the row, within the open transaction."""
        log.record(
            action,
            actor=actor,
            environment=work.environment.slug,
            subject=self.subject(work),
            subject_label=self.label(work),
            digest=self.digest_of(work, digest),
            details=details,
        )

    def submit(
        self,
        work: Work,
        ready: str,
        *,
        title: str,
        evidence: Mapping[str, object],
        by: Person,
        values: Mapping[str, object] | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> ApprovalRequest:
        """Ask another person to approve exactly this, in the caller's transaction. Raises ApprovalRefused."""
        approval = approval_gate.submit(
            self.kind,
            subject=self.subject(work),
            title=title,
            evidence=evidence,
            requester=by,
            environment=work.environment,
        )
        self.move(
            work,
            [ready],
            SUBMITTED,
            self.submitted,
            actor=by.actor,
            digest=approval.digest,
            values={"approval": approval, **(values or {})},
            details=details,
        )
        return approval

    def decided(self, request: ApprovalRequest) -> None:
        """Hook of the gate: an approval moves the row on, any other decision moves it back."""
        work = self.model.objects.filter(approval=request).select_related(*self.related).first()
        if work is None:
            return
        # The withdrawal's own entry names its person, who is not the approver.
        decision = request.state in {ApprovalRequest.State.APPROVED, ApprovalRequest.State.REJECTED}
        actor = request.approver.actor if decision and request.approver else log.Actor.system("approvals")
        if request.state == ApprovalRequest.State.APPROVED:
            self.move(work, [SUBMITTED], APPROVED, self.approved, actor=actor, digest=request.digest)
        elif work.state in {SUBMITTED, APPROVED}:
            state, reason = ApprovalRequest.State(request.state).label, request.why
            self.send_back(work, actor, say(_("The request is %(state)s. %(reason)s"), state=state, reason=reason))

    def start(
        self,
        work: Work,
        *,
        by: Person,
        derive: Callable[[Work], str],
        stale: Callable[[Work], tuple[str | Promise, str | Promise]],
        total: Callable[[Work], int],
        lock: Callable[[Work], Work] | None = None,
        insist: Callable[[Work], None] = lambda _work: None,
        begun: Callable[[Work], None] = lambda _work: None,
    ) -> Run:
        """Approved -> running: derive the evidence anew, claim the approval and create the run in one transaction.

        `insist` raises a refusal if something forbids the start. `derive` gives the digest of the evidence once the
        backup is locked. If it differs from the approved one, nothing is started: the request is withdrawn for the
        first sentence of `stale`, and the second one is the refusal. `begun` follows in the same transaction. Raises
        ApprovalRefused too, if a right or the time is no longer valid.
        """
        with log.transaction():
            # Lock the approval request first, then the row, in the same order as a decision or a withdrawal does.
            asked = ApprovalRequest.objects.filter(pk__in=self.model.objects.filter(pk=work.pk).values("approval"))
            list(asked.select_for_update(of=("self",), no_key=True))
            mine = (lock or self.locked)(work)
            if mine.state != APPROVED or mine.approval is None:
                raise self.refused(say(self.not_approved, state=self.model.State(mine.state).label))
            self.insist_operator(by)
            insist(mine)
            if not isinstance(mine, PruneRequest) and mine.generation_id is not None:
                # The status is part of the evidence: a verification that finds damage must wait until the run exists.
                Generation.objects.select_for_update(of=("self",)).get(pk=mine.generation_id)
            digest = derive(mine)
            if digest == mine.approval.digest:
                run = self.claim_and_run(mine, mine.approval, digest=digest, total=total(mine), by=by)
                begun(mine)
                return run
        because, sentence = stale(mine)
        approval_gate.withdraw(mine.approval, by=by, reason=because)
        raise self.refused(sentence)

    def claim_and_run(self, work: Work, approved: ApprovalRequest, *, digest: str, total: int, by: Person) -> Run:
        """Use the approval and create the run, in the caller's transaction. Raises ApprovalRefused."""
        subject = self.subject(work)
        approval = approval_gate.claim(approved, kind=self.kind, subject=subject, digest=digest, by=by)
        run = run_driver.create(
            self.run_kind,
            subject=subject,
            label=self.label(work),
            actor=by.actor,
            person=by,
            environment=work.environment,
            approval=approval,
            total=total,
        )
        values = {"run": run}
        self.move(work, [APPROVED], self.running, self.started, actor=by.actor, digest=approval.digest, values=values)
        return run

    def end_early(self, work: Work, ending: Callable[[Work, Run], dict[str, object]], *, by: Person) -> None:
        """Resume a stopped or failed run with the cursor that `ending` returns. Raises a refusal."""
        with log.transaction():
            self.insist_operator(by)
            mine = self.locked(work)
            if mine.state != self.running or mine.run is None or mine.run.state not in Run.RESUMABLE:
                raise self.refused(self.not_stopped)
            cursor = ending(mine, mine.run)
            if Run.objects.filter(pk=mine.run.pk, state__in=Run.RESUMABLE).update(cursor=cursor) != 1:
                raise self.refused(self.resumed)
            run_driver.go_on(mine.run, actor=by.actor)
