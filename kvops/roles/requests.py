"""Requests about the roles of a person: asked for, decided by a reviewer, and in force with the approval."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import gate as approval_gate
from kvops.approvals.evidence import canonical_evidence, digest_of
from kvops.models import ApprovalRequest, Person, Role, RoleGrant
from kvops.operations import registry
from kvops.people import setup as people_setup
from kvops.refusals import Refused
from kvops.roles import announcements, invitations
from kvops.runbook import procedures
from kvops.wording import insist_explained, say

ROLE = ApprovalRequest.Kind.ROLE
State = ApprovalRequest.State
GRANT, REVOKE, INVITE, DEACTIVATE = "grant", "revoke", "invite", "deactivate"
TITLES = {
    GRANT: "Grant %(name)s the role %(roles)s",
    REVOKE: "Revoke the role %(roles)s of %(name)s",
    INVITE: "Invite %(name)s as %(roles)s",
    DEACTIVATE: "Deactivate %(name)s",
}


_ONE_MAILBOX = _(
    "This is the mailbox of %(name)s: the addresses differ only after a “+”. Ask for the role on the page of that "
    "person."
)


class RolesRefused(Refused):
    """The roles cannot be changed this way; the message gives the reason and the way."""


@dataclass(frozen=True)
class RoleChange:
    """A change of one person's roles. A person who is invited for the first time has no row yet."""

    action: str
    person: Person | None
    name: str
    email: str
    roles: Sequence[Role] = ()

    @classmethod
    def of(cls, action: str, person: Person, *roles: Role) -> Self:
        """A change of a person who is known."""
        return cls(action, person, person.name, person.email, roles)

    @classmethod
    def invitation(cls, email: str, name: str, *roles: Role) -> Self:
        """An invitation. Raises SetupRefused for an address that is none."""
        folded = people_setup.fold(email)
        person = Person.objects.filter(email=folded).first()
        return cls(INVITE, person, person.name if person else name, folded, roles)

    @classmethod
    def asked_for(cls, request: ApprovalRequest) -> Self:
        """The change that a request asks for, about the person as they are now."""
        shown = json.loads(request.evidence)
        email, roles = shown["person"]["email"], [Role(role) for role in shown["roles"]]
        person = Person.objects.filter(email=email).first()
        return cls(shown["action"], person, person.name if person else shown["person"]["name"], email, roles)

    @property
    def subject(self) -> str:
        """The subject of its request: at most one waits about a person."""
        if self.person:
            return f"person:{self.person.pk}"
        return f"invitation:{sha256(self.email.encode()).hexdigest()[:32]}"

    @property
    def ends_reviewing(self) -> bool:
        """Whether the person is no reviewer after it."""
        return self.action == DEACTIVATE or (self.action == REVOKE and Role.REVIEWER in self.roles)

    def evidence(self, reason: str) -> dict[str, object]:
        """The evidence for the reviewer. `alike`, if anybody, are persons whose address may be the same mailbox."""
        near = people_setup.alike(self.email) if self.action in {GRANT, INVITE} else []
        shown = [{"id": one.pk, "name": one.name, "email": one.email} for one in near]
        return {
            "action": self.action,
            "person": {"id": self.person.pk if self.person else None, "name": self.name, "email": self.email},
            "roles": [role.value for role in self.roles],
            "holds": [role.value for role in self.person.roles()] if self.person else [],
            "reason": reason,
            **({"alike": shown} if shown else {}),
        }


class RoleFacts:
    """How the persons of a change stand now, each fact read once: a page has one for all changes of a person."""

    def __init__(self, change: RoleChange, by: Person | None = None) -> None:
        self._subject, self._person, self._by = change.subject, change.person, by
        self._email = change.email

    @cached_property
    def may_ask(self) -> bool:
        """Whether the asking person holds a role for it."""
        return self._by is not None and registry.REQUESTS[ROLE].has_asker(self._by)

    @cached_property
    def asked(self) -> ApprovalRequest | None:
        """The open request about the person."""
        open_ = ApprovalRequest.objects.filter(kind=ROLE, state__in=[State.PENDING, State.APPROVED])
        return open_.filter(subject=self._subject).order_by("-pk").first()

    @cached_property
    def active(self) -> bool:
        """Whether the person has an active login."""
        return self._person is not None and self._person.logins.filter(is_active=True).exists()

    @cached_property
    def same_mailbox(self) -> Person | None:
        """Another person whose mail arrives in the same mailbox."""
        return people_setup.of_one_mailbox(self._email) if self._email else None

    @cached_property
    def held(self) -> set[Role]:
        """The roles that the person holds."""
        return set(self._person.roles()) if self._person else set()

    @cached_property
    def reviewers(self) -> dict[int, str]:
        """The addresses of the active reviewers."""
        return dict(Person.objects.active_reviewers().values_list("pk", "email"))


def why_not_ask(change: RoleChange, *, by: Person, facts: RoleFacts | None = None) -> str | Promise:
    """The reason why the person cannot ask for the change now, with the way; empty if they can."""
    facts = facts or RoleFacts(change, by)
    if not facts.may_ask:
        return _("Only an operator or a reviewer can ask for this.")
    if earlier := facts.asked:
        return say(
            _("Approval %(pk)s already asks for a change of this person. Wait for it or withdraw it."), pk=earlier.pk
        )
    if why := _why_not_now(change, facts):
        return why
    if not facts.reviewers.keys() - {by.pk, change.person.pk if change.person else None}:
        return _no_decider(change, by)
    return ""


def _no_decider(change: RoleChange, by: Person) -> str | Promise:
    if change.person == by or not by.holds(Role.REVIEWER):
        return _("No other reviewer is active, so nobody could decide this. Have a second reviewer invited first.")
    return _(
        "You are the only active reviewer, and nobody approves their own request. Have an operator ask for it; then "
        "you decide."
    )


def _why_not_now(change: RoleChange, facts: RoleFacts) -> str | Promise:
    """The reason why the change makes no sense or does harm now; empty if there is none."""
    name, active, held = change.name, facts.active, facts.held
    if change.action == INVITE:
        return _why_not_invite(name, facts)
    if not active:
        return say(_("%(name)s is deactivated. Invite the person again to grant roles."), name=name)
    if change.action == GRANT and held & set(change.roles):
        return say(_("%(name)s holds the role already."), name=name)
    if change.action == REVOKE and not set(change.roles) <= held:
        return say(_("%(name)s does not hold the role."), name=name)
    if change.ends_reviewing and {*facts.reviewers.values()} == {change.email}:
        return say(
            _(
                "%(name)s is the only active reviewer. Grant the role to another person first, who signs in and so "
                "becomes active."
            ),
            name=name,
        )
    return ""


def _why_not_invite(name: str, facts: RoleFacts) -> str | Promise:
    if facts.active:
        return say(_("%(name)s has a login. Ask for the role on the page of the person."), name=name)
    return say(_ONE_MAILBOX, name=facts.same_mailbox) if facts.same_mailbox else ""


def ask(change: RoleChange, *, by: Person, reason: str) -> ApprovalRequest:
    """Ask a reviewer to decide on the change. Raises RolesRefused and ApprovalRefused."""
    reason = reason.strip()[:2000].strip()
    insist_explained(reason, RolesRefused, _("Give the reason. The reviewer decides by it."))
    if not change.roles and change.action != DEACTIVATE:
        raise RolesRefused(_("Choose at least one role."))
    with log.transaction():
        if why := why_not_ask(change, by=by):
            raise RolesRefused(why)
        facts = {"name": change.name, "roles": ", ".join(change.roles)}
        request = approval_gate.submit(
            ROLE,
            subject=change.subject,
            title=TITLES[change.action] % facts,
            evidence=change.evidence(reason),
            requester=by,
        )
        log.record(
            Action.PERSON_CHANGE_REQUESTED,
            actor=by.actor,
            subject=f"approval:{request.pk}",
            subject_label=request.title,
            digest=request.digest,
            details=procedures.begun_over("people", []),
        )
    return request


def why_not(request: ApprovalRequest) -> str | Promise:
    """The reason why the request cannot be approved now; empty if it can."""
    change = RoleChange.asked_for(request)
    return _why_not_now(change, RoleFacts(change))


def why_not_by(request: ApprovalRequest, person: Person) -> str | Promise:
    """The reason why this person cannot decide on the request; empty if there is none."""
    own = _email(request) == person.email
    return _("This is about your own roles; another reviewer must decide.") if own else ""


def concerned(request: ApprovalRequest) -> list[Person]:
    """The person whom the request is about, if there is such a person and they can sign in."""
    return list(Person.objects.filter(email=_email(request)).active())


def use(request: ApprovalRequest, *, by: Person) -> None:
    """Put the approved change in force. Raises RolesRefused, SetupRefused and ApprovalRefused."""
    with log.transaction():
        # Two changes at once wait here for each other, so that the second one meets what the first one left.
        list(RoleGrant.objects.filter(revoked_at=None).order_by("pk").select_for_update().values_list("pk"))
        change = RoleChange.asked_for(request)
        if not registry.REQUESTS[ROLE].has_asker(request.requester):
            raise RolesRefused(
                say(
                    _("%(name)s asked for this and is neither operator nor reviewer any more. Ask again."),
                    name=request.requester.name,
                )
            )
        if why := _why_not_now(change, RoleFacts(change)):
            raise RolesRefused(why)
        digest = digest_of(canonical_evidence(change.evidence(json.loads(request.evidence)["reason"])))
        used = approval_gate.claim(request, kind=ROLE, subject=change.subject, digest=digest, by=by)
        announcements.changed(_take_effect(change, used), used)


def _take_effect(change: RoleChange, used: ApprovalRequest) -> Person:
    """Write the rows. The actor is the requester; the approval names the approver."""
    actor = used.requester.actor
    if change.action == INVITE:
        user = people_setup.login_of(change.email, actor=actor, name=change.name)
        people_setup.activate(user, actor=actor)
        missing = [role for role in change.roles if role not in user.person.roles()]
        for role in missing:
            people_setup.grant(user.person, role, actor=actor, approval=used)
        invitations.post(user.person, actor=actor)
        return user.person
    person = Person.objects.get(email=change.email)
    if change.action == GRANT:
        for role in change.roles:
            people_setup.grant(person, role, actor=actor, approval=used)
        return person
    for role in person.roles() if change.action == DEACTIVATE else change.roles:
        people_setup.revoke(person, role, actor=actor, approval=used)
    if change.action == DEACTIVATE:
        people_setup.deactivate(person, actor=actor, approval=used)
    return person


def about(person: Person) -> QuerySet[ApprovalRequest]:
    """The requests about the person, newest first."""
    mine = Q(subject=f"person:{person.pk}") | Q(granted__person=person) | Q(revoked__person=person)
    found = ApprovalRequest.objects.filter(mine, kind=ROLE).distinct().order_by("-pk")
    return found.select_related("requester", "approver")


def _email(request: ApprovalRequest) -> str:
    shown: Mapping[str, Any] = json.loads(request.evidence)
    return str(shown["person"]["email"])
