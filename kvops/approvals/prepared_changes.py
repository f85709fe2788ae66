"""Prepared changes of environments and policy: a command prepares, an operator submits, a reviewer decides.

A change about one thing, such as a key family, is prepared and submitted on a page at once.
"""

import json
from collections.abc import Callable, Mapping

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import evidence as canonical_evidence, gate as approval_gate
from kvops.models import ApprovalRequest, Person, PreparedChange
from kvops.names import visible
from kvops.operations import registry
from kvops.wording import say

ACTIONS = {
    ApprovalRequest.Kind.ENVIRONMENT: Action.ENVIRONMENT_CHANGE_REQUESTED,
    ApprovalRequest.Kind.POLICY: Action.POLICY_CHANGE_REQUESTED,
    ApprovalRequest.Kind.FAMILY: Action.POLICY_CHANGE_REQUESTED,
}


def prepare_change(
    kind: ApprovalRequest.Kind,
    *,
    definition: Mapping[str, object],
    summary: list[str],
    actor: log.Actor,
    insist: Callable[[], None] = lambda: None,
) -> PreparedChange:
    """Store a new definition for an operator to submit. An earlier unsubmitted change is discarded.

    `insist` is called within the transaction and may refuse. Raises ApprovalRefused while a submitted change waits for
    its decision, or while the product is read-only.
    """
    with log.transaction():
        approval_gate.insist_writable()
        insist()
        undone = PreparedChange.objects.filter(kind=kind, applied_at__isnull=True, discarded_at__isnull=True)
        if undone.filter(approval__state__in=["pending", "approved"]).exists():
            raise approval_gate.ApprovalRefused(_("An earlier change is waiting for its decision. Withdraw it first."))
        undone.update(discarded_at=Now())
        change = PreparedChange.objects.create(
            kind=kind,
            definition=canonical_evidence.canonical_evidence(definition),
            summary="\n".join(summary),
            prepared_by=actor.text,
        )
        changes = [line[:200] for line in summary[:50]]
        log.record(ACTIONS[kind], actor=actor, subject=f"change:{change.pk}", details={"changes": changes})
    return change


def waiting_change(kind: ApprovalRequest.Kind) -> PreparedChange | None:
    """The prepared change that is neither in force nor discarded, with its approval request."""
    undone = PreparedChange.objects.filter(kind=kind, applied_at__isnull=True, discarded_at__isnull=True)
    return undone.select_related("approval").first()


def submit_change(change: PreparedChange, *, by: Person) -> ApprovalRequest:
    """Ask a reviewer to decide on a prepared change. Raises ApprovalRefused."""
    with log.transaction():
        return _submit(change, by=by)


def _submit(change: PreparedChange, *, by: Person) -> ApprovalRequest:
    if change.approval_id or change.applied_at or change.discarded_at:
        raise approval_gate.ApprovalRefused(_("This change was already submitted, applied or discarded."))
    request = approval_gate.submit(
        ApprovalRequest.Kind(change.kind),
        subject=f"change:{change.pk}",
        title=change.summary.splitlines()[0],
        evidence=evidence(change),
        requester=by,
    )
    PreparedChange.objects.filter(pk=change.pk, approval__isnull=True).update(approval=request)
    return request


def ask(
    kind: ApprovalRequest.Kind, *, about: str, definition: Mapping[str, object], summary: str, by: Person
) -> ApprovalRequest:
    """Store a change about one thing and ask a reviewer at once, within the caller's transaction.

    Changes about other things may be open. Raises ApprovalRefused while another change about this one is.
    """
    log.insist()
    approval_gate.insist_writable()
    undone = PreparedChange.objects.filter(kind=kind, applied_at__isnull=True, discarded_at__isnull=True)
    if earlier := undone.filter(about=about).first():
        sentence = _("Approval %(pk)s already asks for this. Withdraw it first, or wait for its decision.")
        raise approval_gate.ApprovalRefused(say(sentence, pk=earlier.approval_id))
    change = PreparedChange.objects.create(
        kind=kind,
        about=about,
        definition=canonical_evidence.canonical_evidence(definition),
        summary=summary,
        prepared_by=by.actor.text,
    )
    log.record(
        ACTIONS[kind], actor=by.actor, subject=f"change:{change.pk}", details={"changes": [visible(summary)[:200]]}
    )
    return _submit(change, by=by)


def evidence(change: PreparedChange) -> dict[str, object]:
    """The evidence for the reviewer of the change, derived by the feature of its kind."""
    derive = registry.REQUESTS[change.kind].evidence
    if derive is None:
        raise LookupError(f"No feature derives the evidence of {change.kind}.")
    return derive(change)


def definition_evidence(change: PreparedChange) -> dict[str, object]:
    """The evidence of a change whose whole definition is small: all of it, derived from the row."""
    return {
        "summary": change.summary.splitlines(),
        "definition": json.loads(change.definition),
        "prepared_by": change.prepared_by,
    }


def claim_change(change: PreparedChange, *, by: Person) -> None:
    """Claim the approval of this change, in the caller's transaction that applies it. Raises ApprovalRefused."""
    if change.approval is None:
        raise approval_gate.ApprovalRefused(_("This change was not submitted."))
    digest = canonical_evidence.digest_of(canonical_evidence.canonical_evidence(evidence(change)))
    kind = ApprovalRequest.Kind(change.kind)
    approval_gate.claim(change.approval, kind=kind, subject=f"change:{change.pk}", digest=digest, by=by)
    PreparedChange.objects.filter(pk=change.pk).update(applied_at=Now())


def change_decided(request: ApprovalRequest) -> None:
    """Discard a change that was rejected, withdrawn or expired."""
    if request.state in {
        ApprovalRequest.State.REJECTED,
        ApprovalRequest.State.WITHDRAWN,
        ApprovalRequest.State.EXPIRED,
    }:
        PreparedChange.objects.filter(approval=request, applied_at__isnull=True).update(discarded_at=Now())
