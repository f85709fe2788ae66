"""Comparisons: a backup against a later backup, or against KV. Only names that differ are kept."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from backups.models.restores import Restore
from kvops.models import Namespace, Person, Run


class Comparison(models.Model):
    """The differences between a backup and a later one, or between a backup and a namespace while it was read.

    Without an end the comparison is in progress, or its run failed and can be resumed. `found` counts the names by
    kind; `equal` is the number of equal names. A comparison for a restore covers only its names, in its namespace.
    """

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="comparisons")
    other = models.ForeignKey(
        Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="earlier_comparisons"
    )
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    restore = models.ForeignKey(Restore, on_delete=models.PROTECT, null=True, blank=True, related_name="comparisons")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="comparison")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    actor = models.CharField(max_length=200)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    found = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="comparison_with_another_backup", condition=~Q(other=F("generation"))),
            models.UniqueConstraint(fields=["generation", "other"], name="comparison_of_two_backups_once"),
            models.CheckConstraint(
                name="comparison_of_a_restore_is_with_kv", condition=Q(restore__isnull=True) | Q(other__isnull=True)
            ),
            models.CheckConstraint(
                name="comparison_finished_has_counts",
                condition=Q(finished_at__isnull=True, found={}) | (Q(finished_at__isnull=False) & ~Q(found={})),
            ),
        ]

    def __str__(self) -> str:
        against = f"backup {self.other_id}" if self.other_id else f"{self.namespace} now"
        return f"backup {self.generation_id} and {against}"

    @property
    def encrypted(self) -> bool:
        """Whether a compared backup is encrypted: then no exact size is shown."""
        return self.generation.encrypted or (self.other is not None and self.other.encrypted)

    @property
    def differences(self) -> int:
        """The number of differing names."""
        return sum(self.found.get(kind, 0) for kind in ComparisonEntry.Kind.values)


class ComparisonEntry(models.Model):
    """One differing name; a size is unknown if the key is absent or no value was read."""

    class Kind(models.TextChoices):
        """The kind of difference. For a changed key it is the first differing part: value, metadata, expiration."""

        ADDED = "added", _("added")
        REMOVED = "removed", _("removed")
        EXPIRED = "expired", _("past its expiration")
        VALUE = "value", _("another value")
        METADATA = "metadata", _("same value, other metadata")
        EXPIRATION = "expiration", _("only another expiration")

    CHANGED = (Kind.VALUE, Kind.METADATA, Kind.EXPIRATION)

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="entries")
    name = models.TextField(db_collation="C")
    kind = models.CharField(max_length=10, choices=Kind)
    size = models.BigIntegerField(null=True, blank=True)
    other_size = models.BigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "comparison entries"
        constraints = [models.UniqueConstraint(fields=["comparison", "name"], name="comparison_name_once")]
        indexes = [models.Index(fields=["comparison", "kind", "name"], name="comparison_by_kind")]

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}"
