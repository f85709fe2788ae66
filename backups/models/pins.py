"""Pins: people who say that a copy stays, and why."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backups.models.generations import Generation
from kvops.models import Person


class PinQuerySet(models.QuerySet["Pin"]):
    """Pins, asked for in the words of the domain."""

    def in_force(self) -> "PinQuerySet":
        """Pins that nobody took off."""
        return self.filter(removed_at=None)


class Pin(models.Model):
    """A person's word that a copy is not deleted, until somebody takes it off and says why.

    Pins that deletions, restores and runs mean are not here: they are derived, see `backups.retention.holds`.
    """

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="pins")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="pins")
    reason = models.TextField()
    at = models.DateTimeField(db_default=Now())
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    removed_because = models.TextField(blank=True)

    objects = PinQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="pin_says_why", condition=~Q(reason="")),
            models.CheckConstraint(
                name="pin_removed_by_whom_and_why",
                condition=Q(removed_at__isnull=True, removed_by__isnull=True, removed_because="")
                | (Q(removed_at__isnull=False, removed_by__isnull=False) & ~Q(removed_because="")),
            ),
            models.UniqueConstraint(
                fields=["generation", "person"], condition=Q(removed_at__isnull=True), name="pin_once_per_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person.name}: {self.reason}"
