"""Persons, their logins and their roles. The gate compares persons, never logins."""

from collections.abc import Iterable
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from audit.log import Actor
from kvops import permissions


class Role(models.TextChoices):
    """The rights of a person; one person may hold several roles."""

    OPERATOR = "operator", _("operator")
    REVIEWER = "reviewer", _("reviewer")
    AUDITOR = "auditor", _("auditor")


class Person(models.Model):
    """One human being, known by a verified, case-folded e-mail address. Mails use the language chosen last."""

    name = models.CharField(max_length=200)
    email = models.EmailField(unique=True)
    language = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="person_email_is_case_folded", condition=Q(email=Lower("email"))),
            models.CheckConstraint(name="person_language_is_known", condition=Q(language__in=["", "en", "ja"])),
        ]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    @property
    def actor(self) -> Actor:
        """The person as an actor of the audit log."""
        return Actor(self.pk, str(self))

    def holds(self, role: Role) -> bool:
        """Whether the person holds the role now and has a login that is active."""
        return (
            self.grants.filter(role=role, revoked_at__isnull=True).exists()
            and self.logins.filter(is_active=True).exists()
        )

    def roles(self) -> list[Role]:
        """The roles held now, in the order they are declared."""
        held = set(self.grants.filter(revoked_at__isnull=True).values_list("role", flat=True))
        return [role for role in Role if role in held]


class RoleGrant(models.Model):
    """A role given to a person, valid until it is revoked."""

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="grants")
    role = models.CharField(max_length=20, choices=Role)
    granted_at = models.DateTimeField(db_default=Now())
    granted_by = models.CharField(max_length=200)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "role"], condition=Q(revoked_at__isnull=True), name="role_held_once"
            ),
            models.CheckConstraint(
                name="role_revoked_by_someone", condition=Q(revoked_at__isnull=True, revoked_by="") | ~Q(revoked_by="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.role}"


class UserManager(BaseUserManager["User"]):
    """Creates logins; there is no superuser."""

    def create_login(self, person: Person, password: str | None = None) -> "User":
        """A login of the person under their own address. Without a password, the person sets one by mail."""
        user = self.model(email=person.email, person=person)
        user.set_password(password) if password else user.set_unusable_password()
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """One way for a person to sign in."""

    email = models.EmailField(unique=True)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="logins")
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(db_default=Now())

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["person"]

    class Meta:
        constraints = [
            models.CheckConstraint(name="user_email_is_case_folded", condition=Q(email=Lower("email"))),
        ]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        """The person's name, for mails and the account menu."""
        return self.person.name

    @cached_property
    def _roles(self) -> list[Role]:
        """The person's roles at the first question. Each request reads its login anew."""
        return self.person.roles()

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Whether one of the person's roles has the permission; `kvops.permissions` has the table.

        Within one request the answer stays the same. What decides or writes asks `Person.holds`, which is of now.
        """
        return self.is_active and permissions.granted(self._roles, perm)

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Whether the person has all the permissions."""
        return all(self.has_perm(perm) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        """Whether the person holds any role."""
        return self.is_active and bool(self._roles)
