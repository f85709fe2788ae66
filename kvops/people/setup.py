"""Persons, their logins and roles: the first set-up, and grants."""

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from kvops.models import Person, Role, RoleGrant, User
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


def set_up(*, operator: str, reviewer: str, auditors: list[str], actor: log.Actor) -> list[User]:
    """Add the first people: one operator and one reviewer, two persons, and any auditors.

    Works only while no reviewer was ever granted. Raises SetupRefused.
    """
    addresses = [fold(address) for address in (operator, reviewer, *auditors)]
    if addresses[0] == addresses[1]:
        raise SetupRefused("Operator and reviewer must be two persons: a deletion needs both.")
    with log.transaction():
        if RoleGrant.objects.filter(role=Role.REVIEWER).exists():
            raise SetupRefused("A reviewer was already granted; later changes of roles need an approval.")
        roles = [Role.OPERATOR, Role.REVIEWER, *(Role.AUDITOR for _ in auditors)]
        return [add(address, role, actor=actor) for address, role in zip(addresses, roles, strict=True)]


def add(email: str, role: Role, *, actor: log.Actor, name: str = "") -> User:
    """Add the person, their login and the role, inside the caller's transaction. Existing rows are kept."""
    log.insist()
    email = fold(email)
    person, created = Person.objects.get_or_create(email=email, defaults={"name": name or email.split("@")[0]})
    user = person.logins.first() or User.objects.create_login(person)
    EmailAddress.objects.get_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
    if created:
        log.record(Action.PERSON_CREATED, actor=actor, subject=f"person:{person.pk}", subject_label=str(person))
    if not person.grants.filter(role=role, revoked_at__isnull=True).exists():
        RoleGrant.objects.create(person=person, role=role, granted_by=actor.text)
        log.record(
            Action.PERSON_ROLE_GRANTED,
            actor=actor,
            subject=f"person:{person.pk}",
            subject_label=str(person),
            details={"role": role},
        )
    return user


def revoke(person: Person, role: Role, *, actor: log.Actor) -> None:
    """Revoke a role, effective at once. Raises SetupRefused if the person does not hold it."""
    with log.transaction():
        changed = person.grants.filter(role=role, revoked_at__isnull=True).update(
            revoked_at=Now(), revoked_by=actor.text
        )
        if changed != 1:
            raise SetupRefused(f"{person} does not hold the role {role}.")
        log.record(
            Action.PERSON_ROLE_REVOKED,
            actor=actor,
            subject=f"person:{person.pk}",
            subject_label=str(person),
            details={"role": role},
        )
