"""Key families and their categories: the policy as data."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Category(models.TextChoices):
    """What a key is for. Unclassified keys are treated as settings until they are classified."""

    SETTINGS = "settings", _("settings")
    CACHE = "cache", _("cache")
    LEGACY = "legacy", _("legacy master")
    UNCLASSIFIED = "unclassified", _("unclassified")

    @property
    def sensitive(self) -> bool:
        """Whether values are masked and copies need encryption."""
        return self in {Category.SETTINGS, Category.UNCLASSIFIED}


class Read(models.TextChoices):
    """How the values of a family are read: in bulk as text, or one by one as exact bytes."""

    BULK = "bulk", _("in bulk")
    EXACT = "exact", _("one by one")


class PolicyVersion(models.Model):
    """One applied policy: its families and datasets as canonical text, and the digest of that."""

    number = models.PositiveIntegerField(unique=True)
    digest = models.CharField(max_length=64)
    definition = models.TextField()
    applied_at = models.DateTimeField(db_default=Now())
    applied_by = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"policy {self.number}"


class Family(models.Model):
    """A pattern of key names in a binding; the longest match wins, an exact one before a prefix of equal length."""

    binding = models.CharField(max_length=100)
    pattern = models.TextField(db_collation="C")
    exact = models.BooleanField(default=False)
    category = models.CharField(max_length=20, choices=Category)
    owner = models.CharField(max_length=100)
    expiry = models.CharField(max_length=100)
    note = models.TextField(blank=True)
    read = models.CharField(max_length=10, choices=Read, default=Read.BULK)
    sample = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "families"
        constraints = [
            models.UniqueConstraint(fields=["binding", "pattern", "exact"], name="family_pattern_once"),
            models.CheckConstraint(name="family_pattern_not_empty", condition=~Q(pattern="")),
            models.CheckConstraint(name="family_is_classified", condition=~Q(category="unclassified")),
        ]

    def __str__(self) -> str:
        return self.pattern if self.exact else f"{self.pattern}*"

    def matches(self, name: str) -> bool:
        """Whether the pattern covers the key name."""
        return name == self.pattern if self.exact else name.startswith(self.pattern)
