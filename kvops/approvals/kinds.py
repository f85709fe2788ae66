"""The kinds of approvals: the feature that hears a decision, and the one that uses an approval from its page."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from kvops.models import ApprovalRequest, Person, Role


@dataclass(frozen=True)
class ApprovalKind:
    """Functions by name.

    `decided` hears each decision in its transaction, `use` applies an approval from its page, and `evidence` derives
    the evidence of a prepared change. `why_not` takes a request and gives the reason why it cannot be approved now, or
    an empty text; `why_not_by` takes the deciding person besides. `owners` takes a request and gives the owners
    of its subject, who are told of it. One of the roles `askers` asks, starts and withdraws. With `at_once`, `use`
    follows the approval without another click.
    """

    decided: str = ""
    why_not: str = ""
    use: str = ""
    evidence: str = ""
    owners: str = ""
    why_not_by: str = ""
    askers: tuple[Role, ...] = (Role.OPERATOR,)
    at_once: bool = False

    def has_asker(self, person: Person) -> bool:
        """Whether the person may ask for such a request, start it and withdraw it."""
        return any(person.holds(role) for role in self.askers)


_EDITED = "backups.policy.why_edited"

KINDS: dict[str, ApprovalKind] = {
    ApprovalRequest.Kind.DELETE_KEYS: ApprovalKind(
        decided="backups.cleanup.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.ENVIRONMENT: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="kvops.environments.apply.use_change",
        evidence="kvops.approvals.prepared_changes.definition_evidence",
    ),
    ApprovalRequest.Kind.POLICY: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="backups.policy.use_change",
        evidence="backups.policy.change_evidence",
        why_not=_EDITED,
    ),
    ApprovalRequest.Kind.FAMILY: ApprovalKind(
        decided="kvops.approvals.prepared_changes.change_decided",
        use="backups.policy.use_change",
        evidence="backups.families.evidence.family_evidence",
        why_not="backups.families.evidence.why_not",
    ),
    ApprovalRequest.Kind.RELEASE_STOP: ApprovalKind(use="kvops.approvals.emergency_release.use"),
    ApprovalRequest.Kind.RESTORE: ApprovalKind(decided="backups.restores.requests.decided", why_not=_EDITED),
    ApprovalRequest.Kind.DELETE_GENERATIONS: ApprovalKind(
        decided="backups.retention.requests.decided", why_not=_EDITED
    ),
    ApprovalRequest.Kind.DRILL: ApprovalKind(),
    ApprovalRequest.Kind.INVESTIGATION: ApprovalKind(),
    ApprovalRequest.Kind.PUT_KEY: ApprovalKind(
        decided="backups.changes.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.CLEARING: ApprovalKind(why_not=_EDITED),
    ApprovalRequest.Kind.BULK_CHANGE: ApprovalKind(
        decided="backups.changes.bulk.requests.decided",
        why_not=_EDITED,
        owners="kvops.inventory.family_owners.owners_asked_about",
    ),
    ApprovalRequest.Kind.ROLE: ApprovalKind(
        use="kvops.roles.requests.use",
        why_not="kvops.roles.requests.why_not",
        why_not_by="kvops.roles.requests.why_not_by",
        owners="kvops.roles.requests.concerned",
        askers=(Role.OPERATOR, Role.REVIEWER),
        at_once=True,
    ),
}
"""Kind -> functions by name, so that `kvops` does not import the apps above it. A system check resolves each name."""


def why_not_by(request: ApprovalRequest, person: Person) -> str | Promise:
    """The reason why this person cannot decide on the request; empty if its kind has none."""
    if request.requester_id == person.pk:
        return _("You asked for this yourself; another person must decide.")
    function = KINDS[request.kind].why_not_by
    found: str | Promise = import_string(function)(request, person) if function else ""
    return found
