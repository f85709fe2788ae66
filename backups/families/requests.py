"""Requests to register a key family: one request per pattern, each decided by a second person."""

from django.utils.translation import gettext_lazy as _

from audit import log
from backups.families import evidence as family_evidence
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.inventory.registration import FamilyRegistration
from kvops.models import ApprovalRequest, Person, PolicyVersion, PreparedChange
from kvops.runbook import secrets

State = ApprovalRequest.State
KIND = ApprovalRequest.Kind.FAMILY
OPEN = (State.PENDING, State.APPROVED)


def register(registration: FamilyRegistration, *, by: Person) -> ApprovalRequest:
    """Ask a reviewer to decide on the family. Raises ApprovalRefused, and DefinitionRefused if it cannot be added."""
    with log.transaction():
        return _ask(registration, by)


def submit_anew(request: ApprovalRequest, *, by: Person) -> ApprovalRequest:
    """Withdraw an open request whose effect changed, and ask again with the new effect. Raises ApprovalRefused."""
    change = PreparedChange.objects.get(approval=request)
    with log.transaction():
        if request.state not in OPEN:
            raise approval_gate.ApprovalRefused(_("The request is over. Register the family again."))
        _found, changed = family_evidence.effect_now(request)
        if not changed:
            raise approval_gate.ApprovalRefused(_("The effect is as submitted, so the request stays valid."))
        approval_gate.withdraw_within(request, by=by, reason=_("Submitted anew, because another policy came first."))
        return _ask(FamilyRegistration.stored(change), by)


def _holds_a_secret(registration: FamilyRegistration) -> bool:
    """Whether a text looks like a secret."""
    return any(map(secrets.secret_in, (registration.shape, registration.family.note))) or any(
        map(secrets.mark_in, (registration.feature, registration.sample_key, registration.review))
    )


def _ask(registration: FamilyRegistration, by: Person) -> ApprovalRequest:
    if not PolicyVersion.objects.exists():
        raise approval_gate.ApprovalRefused(_("There is no policy yet. Run manage.py apply_policy first."))
    family = registration.family
    if _holds_a_secret(registration):
        raise approval_gate.ApprovalRefused(
            _("A text looks like a secret. The request is kept for ever, so write a name or a type in its place.")
        )
    return prepared_changes.ask(
        KIND,
        about=registration.about,
        definition=registration.as_data(),
        summary=f"Register the key family {family} as {family.category}",
        by=by,
    )
