"""Disposals: expired copies are collected, approved by another person, and deleted by a run (`disposing`).

Each move is one conditional UPDATE and one audit entry. Nothing is collected but what `retention.decide` lets go.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice

from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.archive import digests
from backups.models import Disposal, DisposalEntry, Generation
from backups.retention import evaluate as retained
from backups.retention import evidence as disposal_evidence
from backups.retention.evaluate import Kept, Retention
from backups.retention.rules import State as Keeping
from kvops.approvals import evidence
from kvops.approvals import gate as approvals
from kvops.models import ApprovalRequest, Environment, Person, Role, Run
from kvops.refusals import Refused
from kvops.runs import driver as runs
from kvops.runs import emergency
from kvops.wording import english, say

State = Disposal.State
CAP = 50
"""Copies of one disposal, so that its evidence stays within 64 KiB; what is left is collected by the next."""


class DisposalRefused(Refused):
    """The step is not possible now; the message is one sentence that says why and what to do."""


def due(environment: Environment) -> list[Kept]:
    """The oldest copies of the environment that can be deleted now, one more than a disposal takes."""
    return list(islice(retained.due(Generation.objects.filter(environment=environment)), CAP + 1))


def open_prune(environment: Environment) -> Disposal | None:
    """The disposal of the environment that is not over."""
    return Disposal.objects.filter(environment=environment).exclude(state__in=Disposal.OVER).first()


def collect(environment: Environment, *, reason: str, by: Person) -> Disposal:
    """Collect what can be deleted now and ask another person to approve it.

    Raises DisposalRefused and ApprovalRefused.
    """
    if not reason.strip():
        raise DisposalRefused(_("Say why these copies can go: the reviewer reads it."))
    with log.transaction():
        insist_operator(by)
        emergency.lock(environment)
        if open_prune(environment):
            raise DisposalRefused(_("Copies of this environment are being disposed of already."))
        found = due(environment)[:CAP]
        if not found:
            raise DisposalRefused(_("There is no copy that can be deleted now."))
        disposal = _collect(environment, found, reason.strip(), by)
        _submit(disposal, by)
    return disposal


def _collect(environment: Environment, found: Sequence[Kept], reason: str, by: Person) -> Disposal:
    keys = [list(kept.generation.every_object()) for kept in found]
    disposal = Disposal.objects.create(
        environment=environment,
        reason=reason,
        generations=len(found),
        objects_total=sum(map(len, keys)),
        objects_sha256=digests.objects_sha256(key for names in keys for key in names),
        requested_by=by,
    )
    DisposalEntry.objects.bulk_create(
        DisposalEntry(
            disposal=disposal,
            index=index,
            generation=kept.generation,
            due_at=_date(kept),
            newer=list(kept.verdict.newer),
            objects_total=len(names),
            objects_sha256=digests.objects_sha256(names),
        )
        for index, (kept, names) in enumerate(zip(found, keys, strict=True))
    )
    return disposal


def _date(kept: Kept) -> datetime:
    if kept.verdict.due_at is None:
        raise DisposalRefused(_("There is no copy that can be deleted now."))
    return kept.verdict.due_at


def _submit(disposal: Disposal, by: Person) -> None:
    approval = approvals.submit(
        ApprovalRequest.Kind.DELETE_GENERATIONS,
        subject=f"disposal:{disposal.pk}",
        title=disposal_evidence.title(disposal.environment, disposal.generations),
        evidence=disposal_evidence.build(disposal),
        requester=by,
        environment=disposal.environment,
    )
    move(
        disposal,
        [State.COLLECTED],
        State.SUBMITTED,
        Action.DISPOSAL_SUBMITTED,
        actor=by.actor,
        values={"approval": approval},
        details={"generations": [entry.generation_id for entry in disposal.entries.order_by("index")]},
    )
    disposal.refresh_from_db()


def decided(request: ApprovalRequest) -> None:
    """Hook of the gate: approved moves the disposal on; anything else ends it."""
    disposal = Disposal.objects.filter(approval=request).select_related("environment").first()
    if disposal is None:
        return
    decision = request.state in {ApprovalRequest.State.APPROVED, ApprovalRequest.State.REJECTED}
    actor = request.approver.actor if decision and request.approver else log.Actor.system("approvals")
    if request.state == ApprovalRequest.State.APPROVED:
        move(disposal, [State.SUBMITTED], State.APPROVED, Action.DISPOSAL_APPROVED, actor=actor)
    elif disposal.state in {State.SUBMITTED, State.APPROVED}:
        because = f"The request is {english(ApprovalRequest.State(request.state).label)}. {request.reason}".strip()
        values = {"finished_at": Now(), "ended_because": because[:1000]}
        open_ = [State.SUBMITTED, State.APPROVED]
        details: dict[str, JSON] = {"because": because[:500]}
        move(disposal, open_, State.ENDED, Action.DISPOSAL_ENDED, actor=actor, values=values, details=details)


def start(disposal: Disposal, *, by: Person) -> Run:
    """Approved -> deleting: claims the approval and creates the run in one transaction.

    Raises DisposalRefused and ApprovalRefused. When a copy is not what was approved, or may not go any more, nothing
    is started and the request is withdrawn.
    """
    with log.transaction():
        mine = locked(disposal)
        if mine.state != State.APPROVED or mine.approval is None:
            raise DisposalRefused(say(_("The disposal is not approved: %(state)s."), state=label(mine)))
        insist_operator(by)
        digest = evidence.digest_of(evidence.canonical_evidence(disposal_evidence.build(mine)))
        if digest == mine.approval.digest and _all_due(mine):
            return _claim_and_run(mine, mine.approval, by=by)
    stale = "What would be deleted is no longer what was approved."
    approvals.withdraw(mine.approval, by=by, reason=stale)
    raise DisposalRefused(_("What would be deleted is no longer what was approved. Collect the copies again."))


def _all_due(disposal: Disposal) -> bool:
    """Whether every copy is still there, may still go, and has the objects that were shown."""
    entries = list(disposal.entries.order_by("index"))
    found = Generation.objects.there().filter(disposals__in=entries).select_related("environment", "namespace")
    verdicts = {kept.generation.pk: kept for kept in Retention().of(found)}
    return all(
        (kept := verdicts.get(entry.generation_id)) is not None
        and kept.verdict.state == Keeping.DUE
        and digests.objects_sha256(kept.generation.every_object()) == entry.objects_sha256
        for entry in entries
    )


def _claim_and_run(mine: Disposal, approved: ApprovalRequest, *, by: Person) -> Run:
    subject = f"disposal:{mine.pk}"
    kind = ApprovalRequest.Kind.DELETE_GENERATIONS
    approval = approvals.claim(approved, kind=kind, subject=subject, digest=approved.digest, by=by)
    run = runs.create(
        Run.Kind.DISPOSE,
        subject=subject,
        label=f"{mine.environment.r2_bucket}: {mine.generations} copies"[:300],
        actor=by.actor,
        person=by,
        environment=mine.environment,
        approval=approval,
        total=mine.objects_total,
    )
    values = {"run": run}
    move(mine, [State.APPROVED], State.DELETING, Action.DISPOSAL_STARTED, actor=by.actor, values=values)
    return run


def end_early(disposal: Disposal, *, by: Person) -> None:
    """Begin with no further copy of a stopped or failed disposal. Raises DisposalRefused and runs.NotResumable.

    A copy whose deletion began is deleted to its end: it is of no use any more.
    """
    with log.transaction():
        insist_operator(by)
        mine = locked(disposal)
        if mine.state != State.DELETING or mine.run is None or mine.run.state not in Run.RESUMABLE:
            raise DisposalRefused(_("Only a disposal that was stopped or failed can be ended early. Stop it first."))
        cursor = {**mine.run.cursor, "ending": True}
        if Run.objects.filter(pk=mine.run.pk, state__in=Run.RESUMABLE).update(cursor=cursor) != 1:
            raise DisposalRefused(_("The disposal goes on already. Load the page again."))
        runs.go_on(mine.run, actor=by.actor)


def locked(disposal: Disposal) -> Disposal:
    """The disposal as it is now, held until the open transaction ends."""
    related = ("environment", "approval", "run")
    return Disposal.objects.select_for_update(of=("self",)).select_related(*related).get(pk=disposal.pk)


def move(
    disposal: Disposal,
    expected: Sequence[Disposal.State],
    to: Disposal.State,
    action: Action,
    *,
    actor: log.Actor,
    values: Mapping[str, object] | None = None,
    details: Mapping[str, JSON] | None = None,
) -> None:
    """One conditional UPDATE and one audit entry. Raises DisposalRefused when somebody moved it first."""
    changed = Disposal.objects.filter(pk=disposal.pk, state__in=expected).update(state=to, **(values or {}))
    if changed != 1:
        now = Disposal.objects.get(pk=disposal.pk)
        raise DisposalRefused(say(_("This is not possible any more: the disposal is %(state)s."), state=label(now)))
    log.record(
        action,
        actor=actor,
        environment=disposal.environment.slug,
        subject=f"disposal:{disposal.pk}",
        subject_label=str(disposal)[:200],
        digest=disposal.objects_sha256,
        details=details or {},
    )


def insist_operator(person: Person) -> None:
    """Raise DisposalRefused unless the person is an operator."""
    if not person.holds(Role.OPERATOR):
        raise DisposalRefused(_("Only an operator can do this."))


def label(disposal: Disposal) -> str | Promise:
    """The disposal's state in words."""
    return State(disposal.state).label
