"""Key families and their categories: the policy as data."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.approvals import PreparedChange


class Category(models.TextChoices):
    """The purpose of a key. Unclassified keys are treated as settings until they are classified."""

    SETTINGS = "settings", _("settings")
    CACHE = "cache", _("cache")
    LEGACY = "legacy", _("legacy master")
    UNCLASSIFIED = "unclassified", _("unclassified")

    @property
    def sensitive(self) -> bool:
        """Whether values are masked and backups need encryption."""
        return self in {Category.SETTINGS, Category.UNCLASSIFIED}


class Read(models.TextChoices):
    """How the values of a family are read: in bulk as text, or one by one as exact bytes."""

    BULK = "bulk", _("in bulk")
    EXACT = "exact", _("one by one")


class PolicyVersion(models.Model):
    """One applied policy: its families and datasets as canonical text, and the digest of that text. Never edited.

    The rows of families and datasets are compared with the newest one before anything relies on them.
    """

    number = models.PositiveIntegerField(unique=True)
    digest = models.CharField(max_length=64)
    definition = models.TextField()
    applied_at = models.DateTimeField(db_default=Now())
    applied_by = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"policy {self.number}"


RETAIN_DAYS = 30
"""Days that backups of a family are kept if its policy has no other number. Every category allows it."""


def notice_days() -> list[int]:
    """Days before a backup can be deleted on which notices go out, if the policy has no others."""
    return [7, 3, 1]


REGENERATE = "regenerate"
"""The expiry design of keys that are written again; `regenerate:<member>` names the mark in their metadata."""


def mark_of(expiry: str) -> str:
    """The member of the metadata that marks a key for regeneration by this expiry design; empty if it names none."""
    return expiry.removeprefix(f"{REGENERATE}:") if expiry.startswith(f"{REGENERATE}:") else ""


class Family(models.Model):
    """A pattern of key names in a binding. The longest match wins; an exact one wins over a prefix of equal length.

    Its backups are kept for `retain_days`. A verified backup is expected every `interval_hours`, none if that is 0;
    then it is late, and overdue after `grace_hours` more. With `qa_may_take`, a restore may write production's keys of
    the family into another environment. `registration` marks a family that was registered on the page, not by a file.
    """

    binding = models.CharField(max_length=100)
    pattern = models.TextField(db_collation="C")
    exact = models.BooleanField(default=False)
    category = models.CharField(max_length=20, choices=Category)
    owner = models.CharField(max_length=100)
    expiry = models.CharField(max_length=100)
    note = models.TextField(blank=True)
    read = models.CharField(max_length=10, choices=Read, default=Read.BULK)
    sample = models.BooleanField(default=False)
    retain_days = models.PositiveSmallIntegerField(default=RETAIN_DAYS)
    notice_days = models.JSONField(default=notice_days)
    interval_hours = models.PositiveIntegerField(default=0)
    grace_hours = models.PositiveIntegerField(default=0)
    encrypt = models.BooleanField(default=False)
    qa_may_take = models.BooleanField(default=False)
    registration = models.ForeignKey(
        PreparedChange, on_delete=models.PROTECT, null=True, blank=True, related_name="families"
    )

    class Meta:
        verbose_name_plural = "families"
        constraints = [
            models.UniqueConstraint(fields=["binding", "pattern", "exact"], name="family_pattern_once"),
            models.CheckConstraint(name="family_pattern_not_empty", condition=~Q(pattern="")),
            models.CheckConstraint(name="family_is_classified", condition=~Q(category="unclassified")),
            models.CheckConstraint(name="family_kept_14_days", condition=Q(retain_days__gte=timing.RETENTION_DAYS)),
            models.CheckConstraint(
                name="family_cache_kept_30_days",
                condition=~Q(category="cache") | Q(retain_days__lte=timing.CACHE_RETENTION_DAYS),
            ),
            models.CheckConstraint(
                name="family_settings_stay_in_production", condition=~Q(category="settings", qa_may_take=True)
            ),
            models.CheckConstraint(
                name="family_grace_of_an_interval", condition=Q(grace_hours=0) | Q(interval_hours__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return self.pattern if self.exact else f"{self.pattern}*"

    @property
    def is_to_expire(self) -> bool:
        """Whether the family is designed so that its keys expire, or are regenerated."""
        return self.expiry.startswith(("ttl:", REGENERATE))

    @property
    def lifetime(self) -> int | None:
        """The seconds after which keys expire by the design; None if it gives no time."""
        return int(self.expiry.removeprefix("ttl:")) if self.expiry.startswith("ttl:") else None

    @property
    def mark(self) -> str:
        """The member of the metadata that marks a key for regeneration; empty if the design names none."""
        return mark_of(self.expiry)

    def matches(self, name: str) -> bool:
        """Whether the pattern covers the key name."""
        return name == self.pattern if self.exact else name.startswith(self.pattern)
