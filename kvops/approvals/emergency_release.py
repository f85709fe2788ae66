"""Releasing an emergency stop: one person asks, another approves (design: runs).

No run continues by itself afterwards.
"""

import json

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import evidence as canonical_evidence, gate as approval_gate
from kvops.models import ApprovalRequest, EmergencyStop, Environment, Person
from kvops.runs import emergency
from kvops.wording import insist_explained, say


def ask(environment: Environment, *, by: Person, reason: str) -> ApprovalRequest:
    """Request the release of the environment's emergency stop. Raises ApprovalRefused."""
    insist_explained(
        reason, approval_gate.ApprovalRefused, _("Give the reason for the release. The reviewer decides by it.")
    )
    with log.transaction():
        stop = _in_force(environment)
        return approval_gate.submit(
            ApprovalRequest.Kind.RELEASE_STOP,
            subject=f"stop:{stop.pk}",
            title=f"Release the emergency stop of {environment.name}",
            evidence=evidence(stop, reason),
            requester=by,
            environment=environment,
        )


def evidence(stop: EmergencyStop, reason: str) -> dict[str, object]:
    """The evidence for the reviewer."""
    return {
        "action": "release_stop",
        "environment": stop.environment.slug,
        "production": stop.environment.production,
        "stopped_by": str(stop.by),
        "at": stop.at.isoformat(),
        "stopped_because": stop.reason,
        "reason": reason.strip()[:2000].strip(),
    }


def use(request: ApprovalRequest, *, by: Person) -> EmergencyStop:
    """Release the stop with its approval; no run continues by itself. Raises ApprovalRefused."""
    with log.transaction():
        if request.environment is None:
            raise approval_gate.ApprovalRefused(_("The request names no environment."))
        stop = _in_force(request.environment)
        if request.subject != f"stop:{stop.pk}":
            raise approval_gate.ApprovalRefused(
                _("The approval is for a different emergency stop. Request the release again.")
            )
        shown = evidence(stop, json.loads(request.evidence)["reason"])
        kind, digest = (
            ApprovalRequest.Kind.RELEASE_STOP,
            canonical_evidence.digest_of(canonical_evidence.canonical_evidence(shown)),
        )
        used = approval_gate.claim(request, kind=kind, subject=f"stop:{stop.pk}", digest=digest, by=by)
        changed = EmergencyStop.objects.in_force().filter(pk=stop.pk).update(approval=used, released_at=Now())
        if changed != 1:
            raise approval_gate.ApprovalRefused(_("The stop was released by somebody else."))
        log.record(
            Action.EMERGENCY_RELEASED,
            actor=by.actor,
            environment=request.environment.slug,
            subject=f"stop:{stop.pk}",
            subject_label=str(request.environment),
            digest=request.digest,
        )
    return stop


def _in_force(environment: Environment) -> EmergencyStop:
    stop = emergency.stop_in_force(environment)
    if stop is None:
        raise approval_gate.ApprovalRefused(say(_("%(environment)s is not stopped."), environment=environment.name))
    return stop
