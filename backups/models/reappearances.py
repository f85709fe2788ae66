"""Deleted keys that reappeared."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backups.models.cleanup import CleanupStage
from kvops.models import Person


class ReappearanceQuerySet(models.QuerySet["Reappearance"]):
    """Queries on reappearances."""

    def unseen(self) -> "ReappearanceQuerySet":
        """Reappearances without a person's acknowledgement."""
        return self.filter(acknowledged_at=None)


class Reappearance(models.Model):
    """A deleted key that a later check found again. A person acknowledges it with a note.

    It is never deleted again without a new clean-up and its approval.
    """

    stage = models.ForeignKey(CleanupStage, on_delete=models.PROTECT, related_name="reappearances")
    index = models.BigIntegerField()
    name = models.TextField(db_collation="C")
    same = models.BooleanField()
    found_at = models.DateTimeField(db_default=Now())
    note = models.TextField(blank=True)
    acknowledged_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)

    objects = ReappearanceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stage", "index"], name="reappearance_once_per_name"),
            models.CheckConstraint(
                name="reappearance_acknowledged_with_a_note",
                condition=Q(note="", acknowledged_by__isnull=True, acknowledged_at__isnull=True)
                | (~Q(note="") & Q(acknowledged_by__isnull=False, acknowledged_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["stage"], condition=Q(acknowledged_at=None), name="reappearance_unseen"),
        ]

    def __str__(self) -> str:
        return self.name
