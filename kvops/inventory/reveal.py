"""The reveal of a masked value: for an operator, or for the reviewer of a pending request about exactly this key.

The person gives a reason and has just typed the password again (`kvops.people.signin`). The reveal is recorded before
the value is shown: an auditor sees the person, the key and the reason, never the value. The value is in the answer
and nowhere else.
"""

import json

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.connections import clients
from kvops.inventory import value as key_value
from kvops.models import ApprovalRequest, Key, Namespace, Person, Role
from kvops.operations import registry
from kvops.operations.parts import Question
from kvops.refusals import Refused
from kvops.wording import insist_explained

LONGEST = 500
"""Characters of a reason, as the audit log keeps them."""


class RevealRefused(Refused):
    """The value is not revealed; the message gives the reason."""


def reveal(
    namespace: Namespace, name: str, *, reason: str, by: Person, formatted: bool = False
) -> key_value.Live | None:
    """The live value of a masked key; None if the key no longer exists. Raises RevealRefused and CloudflareError."""
    approval = insist_allowed(namespace, name, by=by)
    insist_reason(reason)
    if edited := key_value.why_policy_edited():
        raise RevealRefused(edited)
    if not key_value.category_of(namespace, name).sensitive:
        raise RevealRefused(_("This value is not masked: show it without a reason."))
    with clients.reader(namespace.environment) as client:
        entry = client.exact_get(namespace.namespace_id, name)
    if entry is None:
        return None
    record(namespace, name, reason=reason, by=by, approval=approval)
    key = Key.objects.filter(namespace=namespace, name=name).first()
    return key_value.as_shown(entry, key, masked=False, formatted=formatted)


def insist_reason(reason: str) -> None:
    """Raise Refused if there is no reason, or if it holds a secret: the audit log and the runbook keep it for ever."""
    insist_explained(reason, RevealRefused, _("Give the reason for revealing the value. It is kept in the audit log."))
    registry.ask(Question.NO_SECRET, reason)


def insist_allowed(namespace: Namespace, name: str, *, by: Person) -> ApprovalRequest | None:
    """The pending request that lets a reviewer see the value; None for an operator. Raises RevealRefused."""
    if by.holds(Role.OPERATOR):
        return None
    found = request_about(namespace, name, by=by)
    if found is None:
        raise RevealRefused(
            _("Only an operator, or the reviewer of a pending request about this key, can reveal its value.")
        )
    return found


def request_about(namespace: Namespace, name: str, *, by: Person) -> ApprovalRequest | None:
    """A pending request about exactly this key that the person may decide; None if there is none."""
    if not by.holds(Role.REVIEWER):
        return None
    waiting = ApprovalRequest.objects.waiting_for(by).filter(environment=namespace.environment)
    return next((one for one in waiting.order_by("pk") if _is_about(one, namespace, name)), None)


def _is_about(request: ApprovalRequest, namespace: Namespace, name: str) -> bool:
    shown = json.loads(request.evidence)
    names = shown.get("names", {})
    return shown.get("namespace_id") == namespace.namespace_id and (names.get("count"), names.get("first")) == (1, name)


def record(namespace: Namespace, name: str, *, reason: str, by: Person, approval: ApprovalRequest | None) -> None:
    """Record the reveal. If this raises, the value is not shown."""
    with log.transaction():
        log.record(
            Action.VALUE_REVEALED,
            actor=by.actor,
            **namespace.audited,
            details={
                "key": name,
                "reason": reason.strip()[:LONGEST],
                **({"approval": approval.pk} if approval else {}),
            },
        )
