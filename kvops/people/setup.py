"""Persons, their logins and roles: the first set-up, and the rows that every later change writes.

A trigger lets roles be granted and revoked by an approved request or a recovery only (`kvops.roles`). The first set-up
is the exception: one transaction, after which a reviewer is there.
"""

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from audit.chain import JSON
from kvops.models import ApprovalRequest, Person, ReviewerRecovery, Role, RoleGrant, User
from kvops.refusals import Refused


class SetupRefused(Refused):
    """The people cannot be set up this way; the message gives the reason."""


def fold(email: str) -> str:
    """The form in which addresses are compared: trimmed, in lower case. Raises SetupRefused for other text."""
    folded = email.strip().lower()
    try:
        validate_email(folded)
    except ValidationError as error:
        raise SetupRefused(f"{email!r} is not an e-mail address.") from error
    return folded


def mailbox(email: str) -> str:
    """The address without what stands after a `+`: mail to both arrives in one mailbox."""
    local, _at, domain = fold(email).rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def of_one_mailbox(email: str) -> Person | None:
    """Another person whose address differs from this one only by `+…` or case. Raises SetupRefused."""
    others = Person.objects.exclude(email=fold(email)).order_by("pk")
    return next((other for other in others if mailbox(other.email) == mailbox(email)), None)


def alike(email: str) -> list[Person]:
    """Other persons whose addresses differ from this one only by dots, `+…` or case. Raises SetupRefused."""
    others = Person.objects.exclude(email=fold(email)).order_by("pk")
    return [other for other in others if _dotless(other.email) == _dotless(email)]


def _dotless(email: str) -> str:
    local, _at, domain = mailbox(email).rpartition("@")
    return f"{local.replace('.', '')}@{domain}"


def set_up(*, operator: str, reviewer: str, auditors: list[str], actor: log.Actor) -> list[User]:
    """Add the first people: one operator and one reviewer, two persons, and any auditors.

    Works only while no reviewer was ever granted. Raises SetupRefused.
    """
    addresses = [fold(address) for address in (operator, reviewer, *auditors)]
    if addresses[0] == addresses[1]:
        raise SetupRefused("Operator and reviewer must be two persons: a deletion needs both.")
    if len({mailbox(address) for address in addresses}) < len(set(addresses)):
        raise SetupRefused("Two of the addresses differ only after a “+”: that is one mailbox, and so one person.")
    with log.transaction():
        for address in addresses:
            if other := of_one_mailbox(address):
                raise SetupRefused(f"{address} is the mailbox of {other}, and so of one person.")
        if RoleGrant.objects.filter(role=Role.REVIEWER).exists():
            raise SetupRefused(
                "A reviewer was already granted; later changes of roles need an approval. Ask for them on the page"
                " People."
            )
        roles = [Role.OPERATOR, Role.REVIEWER, *(Role.AUDITOR for _ in auditors)]
        return [add(address, role, actor=actor) for address, role in zip(addresses, roles, strict=True)]


def add(email: str, role: Role, *, actor: log.Actor, name: str = "") -> User:
    """Add the person, their login and the role, inside the caller's transaction. Existing rows are kept."""
    user = login_of(email, actor=actor, name=name)
    if not user.person.grants.filter(role=role, revoked_at__isnull=True).exists():
        grant(user.person, role, actor=actor)
    return user


def login_of(email: str, *, actor: log.Actor, name: str = "") -> User:
    """The login of the person with this address, inside the caller's transaction. Missing rows are added."""
    log.insist()
    email = fold(email)
    person, created = Person.objects.get_or_create(email=email, defaults={"name": name or email.split("@")[0]})
    user = person.logins.first() or User.objects.create_login(person)
    EmailAddress.objects.get_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
    if created:
        _record(Action.PERSON_CREATED, person, actor)
    return user


def grant(
    person: Person,
    role: Role,
    *,
    actor: log.Actor,
    approval: ApprovalRequest | None = None,
    recovery: ReviewerRecovery | None = None,
) -> None:
    """Grant a role, inside the caller's transaction, by its approval or its recovery."""
    log.insist()
    RoleGrant.objects.create(person=person, role=role, granted_by=actor.text, approval=approval, recovery=recovery)
    _record(Action.PERSON_ROLE_GRANTED, person, actor, role=role, **_by(approval))


def revoke(person: Person, role: Role, *, actor: log.Actor, approval: ApprovalRequest) -> None:
    """Revoke a role by its approval, inside the caller's transaction. Raises SetupRefused if it is not held."""
    log.insist()
    held = person.grants.filter(role=role, revoked_at__isnull=True)
    if held.update(revoked_at=Now(), revoked_by=actor.text, revocation=approval) != 1:
        raise SetupRefused(f"{person} does not hold the role {role}.")
    _record(Action.PERSON_ROLE_REVOKED, person, actor, role=role, **_by(approval))


def deactivate(person: Person, *, actor: log.Actor, approval: ApprovalRequest) -> None:
    """Deactivate the person's logins by the approval: sessions and links end, because the passwords are gone."""
    log.insist()
    User.objects.filter(person=person).update(is_active=False, password=make_password(None))
    _record(Action.PERSON_DEACTIVATED, person, actor, **_by(approval))


def activate(user: User, *, actor: log.Actor) -> None:
    """Activate a login again, inside the caller's transaction; nothing changes for one that is active."""
    log.insist()
    if User.objects.filter(pk=user.pk, is_active=False).update(is_active=True):
        user.refresh_from_db()
        _record(Action.PERSON_ACTIVATED, user.person, actor)


def _by(approval: ApprovalRequest | None) -> dict[str, JSON]:
    return {"approval": approval.pk} if approval else {}


def _record(action: Action, person: Person, actor: log.Actor, **details: JSON) -> None:
    log.record(action, actor=actor, subject=f"person:{person.pk}", subject_label=str(person), details=details)
