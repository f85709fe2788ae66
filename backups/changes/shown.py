"""A proposal as the web server shows it: the paths that change, and the values on a reveal with a reason."""

from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

from backups.bucket import access as bucket_access
from backups.bucket.store import StoreError
from backups.changes import differences, proposal as proposals, review_key
from backups.changes.differences import PathDifference
from backups.changes.moves import ChangeRefused
from backups.changes.proposal import Proposal, ProposalRefused
from backups.models import KeyChange
from kvops.inventory import reveal as key_reveal, value as key_value
from kvops.models import ApprovalRequest, Person, Role
from kvops.wording import reason_of, say


@dataclass(frozen=True)
class Differences:
    """The paths that change in the value; `problem` is the reason if the proposal cannot be opened."""

    lines: list[PathDifference] = field(default_factory=list)
    more: bool = False
    problem: str = ""


@dataclass(frozen=True)
class RevealedValues:
    """The old and the new entry as a page shows them; `repr` shows no value."""

    old: key_value.Live | None
    new: key_value.Live

    def __repr__(self) -> str:
        return "RevealedValues()"


def differences_of(change: KeyChange) -> Differences:
    """The paths that change, out of the proposal."""
    try:
        found = _opened(change)
    except (ChangeRefused, ProposalRefused, review_key.ReviewKeyMissing) as refused:
        return Differences(problem=reason_of(refused))
    except StoreError as error:
        return Differences(problem=reason_of(error))
    if "value" not in found.parts:
        return Differences()
    return Differences(*differences.between(found.old.data if found.old else None, found.new.data))


def reveal(change: KeyChange, *, reason: str, by: Person) -> RevealedValues:
    """Both entries, for an operator or the reviewer of this pending request. The reveal is recorded first.

    Raises RevealRefused, ChangeRefused, ProposalRefused, ReviewKeyMissing and StoreError.
    """
    approval = _insist_allowed(change, by)
    key_reveal.insist_reason(reason)
    found = _opened(change)
    key_reveal.record(change.namespace, change.name, reason=reason, by=by, approval=approval)
    return RevealedValues(
        key_value.as_shown(found.old, None, masked=False, formatted=False) if found.old else None,
        key_value.as_shown(found.new, None, masked=False, formatted=False),
    )


def may_reveal(change: KeyChange, by: Person) -> bool:
    """Whether the person may see the values now."""
    return by.holds(Role.OPERATOR) or _waits_for(change, by)


def _insist_allowed(change: KeyChange, by: Person) -> ApprovalRequest | None:
    if not may_reveal(change, by):
        raise key_reveal.RevealRefused(
            _("Only an operator, or the reviewer of this request while it is pending, can reveal its values.")
        )
    return None if by.holds(Role.OPERATOR) else change.approval


def _waits_for(change: KeyChange, by: Person) -> bool:
    waiting = ApprovalRequest.objects.waiting_for(by).filter(keychange=change)
    return by.holds(Role.REVIEWER) and waiting.exists()


def _opened(change: KeyChange) -> Proposal:
    if not change.is_open:
        raise ChangeRefused(_("The change is over. Its values are not shown any more."))
    if change.bucket != change.environment.r2_bucket:
        raise ChangeRefused(say(_("The proposal is in bucket %(bucket)s."), bucket=change.bucket))
    identity = review_key.identity()
    with bucket_access.store(change.environment) as store:
        return proposals.opened(change, store, [identity])
