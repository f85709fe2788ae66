"""Contrasts: a copy compared with a later copy, or with what KV holds. Only names that differ are kept."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from backups.models.restores import Restore
from kvops.models import Namespace, Person, Run


class Contrast(models.Model):
    """What differs between a copy and a later one, or what a namespace held while it was read.

    Without an end it is under way, or its run failed and can go on. `found` counts the names of each kind and, as
    `equal`, those that do not differ. One of a restore is about its names alone, and about where it put them.
    """

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="contrasts")
    other = models.ForeignKey(
        Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="earlier_contrasts"
    )
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    restore = models.ForeignKey(Restore, on_delete=models.PROTECT, null=True, blank=True, related_name="contrasts")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="contrast")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    actor = models.CharField(max_length=200)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    found = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="contrast_with_another_copy", condition=~Q(other=F("generation"))),
            models.UniqueConstraint(fields=["generation", "other"], name="contrast_of_two_copies_once"),
            models.CheckConstraint(
                name="contrast_of_a_restore_is_with_kv", condition=Q(restore__isnull=True) | Q(other__isnull=True)
            ),
            models.CheckConstraint(
                name="contrast_finished_has_counts",
                condition=Q(finished_at__isnull=True, found={}) | (Q(finished_at__isnull=False) & ~Q(found={})),
            ),
        ]

    def __str__(self) -> str:
        against = f"copy {self.other_id}" if self.other_id else f"{self.namespace} now"
        return f"copy {self.generation_id} and {against}"

    @property
    def differences(self) -> int:
        """How many names differ."""
        return sum(self.found.get(kind, 0) for kind in ContrastEntry.Kind.values)


class ContrastEntry(models.Model):
    """One name that differs; a size is unknown where nothing is there or no value was read."""

    class Kind(models.TextChoices):
        """How it differs from the copy; of a changed one the first that does: value, metadata, expiration."""

        ADDED = "added", _("added")
        REMOVED = "removed", _("removed")
        EXPIRED = "expired", _("its time is over")
        VALUE = "value", _("another value")
        METADATA = "metadata", _("same value, other metadata")
        EXPIRATION = "expiration", _("only another expiration")

    CHANGED = (Kind.VALUE, Kind.METADATA, Kind.EXPIRATION)

    contrast = models.ForeignKey(Contrast, on_delete=models.CASCADE, related_name="entries")
    name = models.TextField(db_collation="C")
    kind = models.CharField(max_length=10, choices=Kind)
    size = models.BigIntegerField(null=True, blank=True)
    other_size = models.BigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "contrast entries"
        constraints = [models.UniqueConstraint(fields=["contrast", "name"], name="contrast_name_once")]
        indexes = [models.Index(fields=["contrast", "kind", "name"], name="contrast_by_kind")]

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}"
