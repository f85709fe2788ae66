"""Persons, their logins and their roles. The gate compares persons, never logins."""

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from audit.log import Actor
from kvops import permissions, timing

VOLUNTARY = ("approval.decided", "generation.made", "run.finished", "run.waiting")
"""The events whose mails a person may turn off: news about own work, and waits that end by themselves."""


class Role(models.TextChoices):
    """The rights of a person; one person may hold several roles."""

    OPERATOR = "operator", _("operator")
    REVIEWER = "reviewer", _("reviewer")
    AUDITOR = "auditor", _("auditor")


class PersonQuerySet(models.QuerySet["Person"]):
    """Queries for persons."""

    def active(self) -> "PersonQuerySet":
        """Persons who can sign in now: with an active login that has a password."""
        able = User.objects.filter(is_active=True).exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)
        return self.filter(pk__in=able.values("person"))

    def active_reviewers(self) -> "PersonQuerySet":
        """Persons who can sign in now and hold the role of a reviewer."""
        held = RoleGrant.objects.filter(role=Role.REVIEWER, revoked_at__isnull=True)
        return self.active().filter(pk__in=held.values("person"))

    def known(self) -> "PersonQuerySet":
        """Persons with a login or a role, now or earlier."""
        return self.filter(Q(pk__in=User.objects.values("person")) | Q(pk__in=RoleGrant.objects.values("person")))


class Person(models.Model):
    """One human being, known by a verified, case-folded e-mail address, with preferences.

    `language` is that of the pages read last, `pages_language` and `mails_language` are chosen ones. An empty choice
    follows: mails the pages, pages the browser, times the product's zone.
    """

    name = models.CharField(max_length=200)
    email = models.EmailField(unique=True)
    language = models.CharField(max_length=10, blank=True)
    pages_language = models.CharField(max_length=10, blank=True, db_default="")
    mails_language = models.CharField(max_length=10, blank=True, db_default="")
    time_zone = models.CharField(max_length=60, blank=True, db_default="")
    unwanted = models.JSONField(default=list, db_default=models.Value([], models.JSONField()), blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = PersonQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="person_email_is_case_folded", condition=Q(email=Lower("email"))),
            models.CheckConstraint(name="person_language_is_known", condition=Q(language__in=["", "en", "ja"])),
            models.CheckConstraint(
                name="person_pages_language_is_known", condition=Q(pages_language__in=["", "en", "ja"])
            ),
            models.CheckConstraint(
                name="person_mails_language_is_known", condition=Q(mails_language__in=["", "en", "ja"])
            ),
            models.CheckConstraint(
                name="person_turns_off_voluntary_notices_only", condition=Q(unwanted__contained_by=[*VOLUNTARY])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    @property
    def reads(self) -> str:
        """The language of the person's mails."""
        return self.mails_language or self.pages_language or self.language or settings.LANGUAGE_CODE

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the times that the person reads. A zone that is no longer known is the product's."""
        return ZoneInfo(self.time_zone if self.time_zone in NAMES else settings.TIME_ZONE)

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


class ReviewerRecovery(models.Model):
    """A role of a reviewer that a command asked for while no reviewer was active. It takes effect after 24 hours.

    It is granted or cancelled once. A trigger refuses it while a reviewer is active.
    """

    email = models.EmailField()
    name = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    asked_by = models.CharField(max_length=200)
    asked_at = models.DateTimeField(db_default=Now())
    effective_at = models.DateTimeField()
    granted_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "reviewer recoveries"
        constraints = [
            models.CheckConstraint(name="recovery_email_is_case_folded", condition=Q(email=Lower("email"))),
            models.CheckConstraint(name="recovery_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(
                name="recovery_waits_for_24_hours",
                condition=Q(effective_at__gte=F("asked_at") + models.Value(timedelta(seconds=timing.RECOVERY))),
            ),
            models.CheckConstraint(
                name="recovery_granted_or_cancelled",
                condition=Q(granted_at__isnull=True) | Q(cancelled_at__isnull=True),
            ),
            models.UniqueConstraint(
                models.Value(1),
                condition=Q(granted_at__isnull=True, cancelled_at__isnull=True),
                name="recovery_one_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"recovery {self.pk}: {self.email}"


class RoleGrant(models.Model):
    """A role given to a person, valid until it is revoked.

    `approval` is the request that granted it, `recovery` the recovery that did; the first people of an installation
    have neither. `revocation` is the request that revoked it.
    """

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="grants")
    role = models.CharField(max_length=20, choices=Role)
    granted_at = models.DateTimeField(db_default=Now())
    granted_by = models.CharField(max_length=200)
    approval = models.ForeignKey(
        "kvops.ApprovalRequest", on_delete=models.PROTECT, null=True, blank=True, related_name="granted"
    )
    recovery = models.OneToOneField(
        ReviewerRecovery, on_delete=models.PROTECT, null=True, blank=True, related_name="grant"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=200, blank=True)
    revocation = models.ForeignKey(
        "kvops.ApprovalRequest", on_delete=models.PROTECT, null=True, blank=True, related_name="revoked"
    )

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

    def with_roles(self) -> "models.QuerySet[User]":
        """Logins with their person and the roles held now, in one query."""
        held = RoleGrant.objects.filter(person=models.OuterRef("person"), revoked_at__isnull=True)
        return self.select_related("person").annotate(held=ArraySubquery(held.values("role")))


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
    def roles(self) -> list[Role]:
        """The person's roles when the login was read or, if it was read without them, at the first question.

        Each request reads its login anew.
        """
        held: list[str] | None = getattr(self, "held", None)
        return self.person.roles() if held is None else [role for role in Role if role in held]

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Whether one of the person's roles has the permission; `kvops.permissions` has the table.

        Within one request the answer stays the same. What decides or writes asks `Person.holds`, which is of now.
        """
        return self.is_active and permissions.granted(self.roles, perm)

    def has_perms(self, perm_list: Iterable[str], obj: object = None) -> bool:
        """Whether the person has all the permissions."""
        return all(self.has_perm(perm) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        """Whether the person holds any role."""
        return self.is_active and bool(self.roles)


AREAS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)

NAMES = ("UTC", *sorted(name for name in available_timezones() if name.split("/")[0] in AREAS))
"""UTC and the zones by area and city. Older names of zones, such as `Japan`, are left out."""
