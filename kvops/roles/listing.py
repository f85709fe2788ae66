"""The people of an installation as the pages show them: roles, state, last sign-in and pending requests."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.models import ApprovalRequest, Person, Role, RoleGrant, Run, User
from kvops.roles import invitations, requests
from kvops.roles.requests import DEACTIVATE, GRANT, REVOKE, RoleChange
from kvops.wording import say

State = ApprovalRequest.State
RIGHTS = {
    Role.OPERATOR: _("prepares and starts work, and asks for approvals"),
    Role.REVIEWER: _("decides on requests of other people"),
    Role.AUDITOR: _(
        "sees every page but the doctor's, and no value; can pin backups, add notes and stop an environment"
    ),
}
"""What each role may do, in one line."""


@dataclass(frozen=True)
class ShownPerson:
    """A person with everything that the list has of them; `earlier` are the revoked grants, the newest first."""

    person: Person
    grants: list[RoleGrant]
    earlier: list[RoleGrant]
    logins: list[User]
    invitation: invitations.Invitation | None

    @property
    def state(self) -> str:
        """Invited until a password was chosen; active; or deactivated."""
        active = [user for user in self.logins if user.is_active]
        if not active:
            return "person_deactivated"
        return "person_active" if any(user.has_usable_password() for user in active) else "person_invited"

    @property
    def last_login(self) -> datetime | None:
        """The last sign-in; None if there was none."""
        return max((user.last_login for user in self.logins if user.last_login), default=None)


@dataclass(frozen=True)
class AskedChange:
    """A change that may be asked for, or the reason why not."""

    change: RoleChange
    label: str | Promise
    why_not: str | Promise

    @property
    def key(self) -> str:
        """The change as a form sends it."""
        return ":".join([self.change.action, *self.change.roles])


def everybody() -> list[ShownPerson]:
    """Everybody with a login or a role, now or earlier, by name."""
    return _shown(list(Person.objects.known().order_by("name", "pk")))


def shown(person: Person) -> ShownPerson:
    """One person with roles, logins and the newest invitation."""
    return _shown([person])[0]


def _shown(people: list[Person]) -> list[ShownPerson]:
    grants, logins = defaultdict(list), defaultdict(list)
    found = RoleGrant.objects.filter(person__in=people).select_related("approval", "recovery", "revocation")
    for grant in found.order_by("granted_at"):
        grants[grant.person_id, grant.revoked_at is None].append(grant)
    for user in User.objects.filter(person__in=people):
        logins[user.person_id].append(user)
    newest = invitations.newest_of_each(people)
    return [
        ShownPerson(one, grants[one.pk, True], grants[one.pk, False][::-1], logins[one.pk], newest.get(one.pk))
        for one in people
    ]


def open_requests() -> Iterable[ApprovalRequest]:
    """The requests about roles that wait for a decision, or to be put in force."""
    found = ApprovalRequest.objects.filter(kind=requests.ROLE, state__in=[State.PENDING, State.APPROVED])
    return found.select_related("environment", "requester").order_by("-pk")


def changes(one: ShownPerson, asked: Iterable[ApprovalRequest], *, by: Person, may_ask: bool) -> list[AskedChange]:
    """The changes of the person, each with the reason why it cannot be asked for; `asked` are the requests so far."""
    person, ended = one.person, RoleChange.of(DEACTIVATE, one.person)
    facts = requests.RoleFacts(ended, by)
    facts.may_ask, facts.held = may_ask, {Role(grant.role) for grant in one.grants}
    facts.active = any(user.is_active for user in one.logins)
    here = (each for each in asked if each.subject == ended.subject and each.state in {State.PENDING, State.APPROVED})
    facts.asked = next(here, None)
    found: list[tuple[RoleChange, str | Promise]] = [
        *(
            (RoleChange.of(REVOKE, person, role), say(_("Revoke the role %(role)s"), role=role.label))
            if role in facts.held
            else (RoleChange.of(GRANT, person, role), say(_("Grant the role %(role)s"), role=role.label))
            for role in Role
        ),
        (ended, _("Deactivate: all roles and sessions end")),
    ]
    return [AskedChange(change, label, requests.why_not_ask(change, by=by, facts=facts)) for change, label in found]


def depends_on(person: Person) -> tuple[list[Run], list[ApprovalRequest]]:
    """The open runs and the approvals that stop counting when the person loses the role they need."""
    mine = Q(approval__requester=person) | Q(approval__approver=person) | Q(approval__starter=person)
    runs = Run.objects.open().filter(mine).select_related("environment").order_by("pk")
    part = Q(requester=person, state__in=[State.PENDING, State.APPROVED]) | Q(approver=person, state=State.APPROVED)
    approvals = ApprovalRequest.objects.filter(part).select_related("environment", "requester")
    return list(runs[:50]), list(approvals.order_by("pk")[:50])
