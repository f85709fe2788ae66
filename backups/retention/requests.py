"""Prune requests: expired backups are collected, approved by another person, and deleted by a run (`run`).

Each move is one conditional UPDATE and one audit entry. Only backups that `rules.decide` lets go are collected. A
request that is ended early begins no further backup, but finishes one that is half deleted, even if a person has lost
a right meanwhile.
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
from backups.models import Generation, PruneEntry, PruneRequest
from backups.retention import evaluate as retention_evaluate, evidence as prune_evidence
from backups.retention.evaluate import Kept, Retention
from backups.retention.rules import State as Keeping
from kvops.approvals import evidence, gate as approval_gate
from kvops.models import ApprovalRequest, Environment, Person, Role, Run
from kvops.refusals import Refused
from kvops.runs import driver as run_driver, emergency
from kvops.wording import english, say

State = PruneRequest.State
CAP = 50
"""Copies of one prune, so that its evidence stays within 64 KiB; what is left is collected by the next."""


class PruneRefused(Refused):
    """The step is not possible now; the message is one sentence that says why and what to do."""


def due(environment: Environment) -> list[Kept]:
    """The oldest copies of the environment that can be deleted now, one more than a prune takes."""
    return list(islice(retention_evaluate.due(Generation.objects.filter(environment=environment)), CAP + 1))


def open_prune(environment: Environment) -> PruneRequest | None:
    """The prune of the environment that is not over."""
    return PruneRequest.objects.filter(environment=environment).exclude(state__in=PruneRequest.OVER).first()


def collect(environment: Environment, *, reason: str, by: Person) -> PruneRequest:
    """Collect what can be deleted now and ask another person to approve it.

    Raises PruneRefused and ApprovalRefused.
    """
    if not reason.strip():
        raise PruneRefused(_("Give the reason for deleting these backups. The reviewer reads it."))
    with log.transaction():
        insist_operator(by)
        emergency.lock(environment)
        if open_prune(environment):
            raise PruneRefused(_("A prune request of this environment is already open."))
        found = due(environment)[:CAP]
        if not found:
            raise PruneRefused(_("No backup can be deleted now."))
        prune = _collect(environment, found, reason.strip(), by)
        _submit(prune, by)
    return prune


def _collect(environment: Environment, found: Sequence[Kept], reason: str, by: Person) -> PruneRequest:
    keys = [list(kept.generation.every_object()) for kept in found]
    prune = PruneRequest.objects.create(
        environment=environment,
        reason=reason,
        generations=len(found),
        objects_total=sum(map(len, keys)),
        objects_sha256=digests.objects_sha256(key for names in keys for key in names),
        requested_by=by,
    )
    PruneEntry.objects.bulk_create(
        PruneEntry(
            prune=prune,
            index=index,
            generation=kept.generation,
            due_at=_date(kept),
            newer=list(kept.verdict.newer),
            objects_total=len(names),
            objects_sha256=digests.objects_sha256(names),
        )
        for index, (kept, names) in enumerate(zip(found, keys, strict=True))
    )
    return prune


def _date(kept: Kept) -> datetime:
    if kept.verdict.due_at is None:
        raise PruneRefused(_("No backup can be deleted now."))
    return kept.verdict.due_at


def _submit(prune: PruneRequest, by: Person) -> None:
    approval = approval_gate.submit(
        ApprovalRequest.Kind.DELETE_GENERATIONS,
        subject=f"prune:{prune.pk}",
        title=prune_evidence.title(prune.environment, prune.generations),
        evidence=prune_evidence.build(prune),
        requester=by,
        environment=prune.environment,
    )
    move(
        prune,
        [State.COLLECTED],
        State.SUBMITTED,
        Action.DISPOSAL_SUBMITTED,
        actor=by.actor,
        values={"approval": approval},
        details={"generations": [entry.generation_id for entry in prune.entries.order_by("index")]},
    )
    prune.refresh_from_db()


def decided(request: ApprovalRequest) -> None:
    """Hook of the gate: approved moves the prune on; anything else ends it."""
    prune = PruneRequest.objects.filter(approval=request).select_related("environment").first()
    if prune is None:
        return
    decision = request.state in {ApprovalRequest.State.APPROVED, ApprovalRequest.State.REJECTED}
    actor = request.approver.actor if decision and request.approver else log.Actor.system("approvals")
    if request.state == ApprovalRequest.State.APPROVED:
        move(prune, [State.SUBMITTED], State.APPROVED, Action.DISPOSAL_APPROVED, actor=actor)
    elif prune.state in {State.SUBMITTED, State.APPROVED}:
        because = f"The request is {english(ApprovalRequest.State(request.state).label)}. {request.reason}".strip()
        values = {"finished_at": Now(), "ended_because": because[:1000]}
        open_ = [State.SUBMITTED, State.APPROVED]
        details: dict[str, JSON] = {"because": because[:500]}
        move(prune, open_, State.ENDED, Action.DISPOSAL_ENDED, actor=actor, values=values, details=details)


def start(prune: PruneRequest, *, by: Person) -> Run:
    """Approved -> deleting: claims the approval and creates the run in one transaction.

    Raises PruneRefused and ApprovalRefused. When a copy is not what was approved, or may not go any more, nothing
    is started and the request is withdrawn.
    """
    with log.transaction():
        mine = locked(prune)
        if mine.state != State.APPROVED or mine.approval is None:
            raise PruneRefused(say(_("The prune request is not approved: %(state)s."), state=label(mine)))
        insist_operator(by)
        digest = evidence.digest_of(evidence.canonical_evidence(prune_evidence.build(mine)))
        if digest == mine.approval.digest and _all_due(mine):
            return _claim_and_run(mine, mine.approval, by=by)
    stale = "The keys to delete differ from the approved ones."
    approval_gate.withdraw(mine.approval, by=by, reason=stale)
    raise PruneRefused(_("The backups to delete differ from the approved ones. Collect the backups again."))


def _all_due(prune: PruneRequest) -> bool:
    """Whether every copy is still there, may still go, and has the objects that were shown."""
    entries = list(prune.entries.order_by("index"))
    found = Generation.objects.there().filter(prunes__in=entries).select_related("environment", "namespace")
    verdicts = {kept.generation.pk: kept for kept in Retention().of(found)}
    return all(
        (kept := verdicts.get(entry.generation_id)) is not None
        and kept.verdict.state == Keeping.DUE
        and digests.objects_sha256(kept.generation.every_object()) == entry.objects_sha256
        for entry in entries
    )


def _claim_and_run(mine: PruneRequest, approved: ApprovalRequest, *, by: Person) -> Run:
    subject = f"prune:{mine.pk}"
    kind = ApprovalRequest.Kind.DELETE_GENERATIONS
    approval = approval_gate.claim(approved, kind=kind, subject=subject, digest=approved.digest, by=by)
    run = run_driver.create(
        Run.Kind.PRUNE,
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


def end_early(prune: PruneRequest, *, by: Person) -> None:
    """Begin with no further copy of a stopped or failed prune. Raises PruneRefused and run_driver.NotResumable.

    A copy whose deletion began is deleted to its end: it is of no use any more.
    """
    with log.transaction():
        insist_operator(by)
        mine = locked(prune)
        if mine.state != State.DELETING or mine.run is None or mine.run.state not in Run.RESUMABLE:
            raise PruneRefused(_("Only a prune run that was stopped or failed can be ended early. Stop it first."))
        cursor = {**mine.run.cursor, "ending": True}
        if Run.objects.filter(pk=mine.run.pk, state__in=Run.RESUMABLE).update(cursor=cursor) != 1:
            raise PruneRefused(_("The prune run has already resumed. Load the page again."))
        run_driver.go_on(mine.run, actor=by.actor)


def locked(prune: PruneRequest) -> PruneRequest:
    """The prune as it is now, held until the open transaction ends."""
    related = ("environment", "approval", "run")
    return PruneRequest.objects.select_for_update(of=("self",)).select_related(*related).get(pk=prune.pk)


def move(
    prune: PruneRequest,
    expected: Sequence[PruneRequest.State],
    to: PruneRequest.State,
    action: Action,
    *,
    actor: log.Actor,
    values: Mapping[str, object] | None = None,
    details: Mapping[str, JSON] | None = None,
) -> None:
    """One conditional UPDATE and one audit entry. Raises PruneRefused when somebody moved it first."""
    changed = PruneRequest.objects.filter(pk=prune.pk, state__in=expected).update(state=to, **(values or {}))
    if changed != 1:
        now = PruneRequest.objects.get(pk=prune.pk)
        raise PruneRefused(say(_("This is not possible any more: the prune request is %(state)s."), state=label(now)))
    log.record(
        action,
        actor=actor,
        environment=prune.environment.slug,
        subject=f"prune:{prune.pk}",
        subject_label=str(prune)[:200],
        digest=prune.objects_sha256,
        details=details or {},
    )


def insist_operator(person: Person) -> None:
    """Raise PruneRefused unless the person is an operator."""
    if not person.holds(Role.OPERATOR):
        raise PruneRefused(_("Only an operator can do this."))


def label(prune: PruneRequest) -> str | Promise:
    """The prune's state in words."""
    return State(prune.state).label
