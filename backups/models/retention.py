"""Pins of people, and prune requests: which backups are kept, and which may go."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import ApprovalRequest, Environment, Person, Run
from kvops.wording import several, spoken, stored


class PinQuerySet(models.QuerySet["Pin"]):
    """Queries on pins."""

    def in_force(self) -> "PinQuerySet":
        """Pins that were not removed."""
        return self.filter(removed_at=None)


class Pin(models.Model):
    """A person's decision to keep a backup until the pin is removed with a reason.

    Holds of deletions, restores and runs are not stored as pins: they are derived, see `backups.retention.holds`.
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


class PruneRequest(models.Model):
    """The deletion of backups that can be deleted by now, in one environment.

    collected -> submitted -> approved     (asked for, and decided by another person)
    approved -> deleting                   (claimed: the run and the used approval in one transaction)
    deleting -> done                       (every backup is deleted, or kept with the reason)
    collected | submitted | approved -> ended   (rejected, withdrawn, expired, stale)
    """

    class State(models.TextChoices):
        """The state of the prune request."""

        COLLECTED = "collected", _("collected")
        SUBMITTED = "submitted", _("waiting for approval")
        APPROVED = "approved", _("approved")
        DELETING = "deleting", _("deleting")
        DONE = "done", _("done")
        ENDED = "ended", _("ended")

    OVER = (State.DONE, State.ENDED)

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    state = models.CharField(max_length=20, choices=State, default=State.COLLECTED)
    reason = models.TextField()
    generations = models.PositiveIntegerField()
    objects_total = models.PositiveIntegerField()
    objects_sha256 = models.CharField(max_length=64)
    requested_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="prunes")
    created_at = models.DateTimeField(db_default=Now())
    approval = models.OneToOneField(
        ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True, related_name="prune"
    )
    run = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="prune")
    deleted = models.PositiveIntegerField(default=0)
    kept = models.PositiveIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=1000, blank=True)
    ended_because_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], condition=~Q(state__in=["done", "ended"]), name="prune_one_open"
            ),
            models.CheckConstraint(name="prune_says_why", condition=~Q(reason="")),
            models.CheckConstraint(
                name="prune_submitted_has_an_approval",
                condition=Q(state__in=["collected", "ended"]) | Q(approval__isnull=False),
            ),
            models.CheckConstraint(
                name="prune_deleting_has_a_run",
                condition=~Q(state__in=["deleting", "done"]) | Q(run__isnull=False),
            ),
            models.CheckConstraint(
                name="prune_over_has_an_end",
                condition=Q(state__in=["done", "ended"], finished_at__isnull=False)
                | (~Q(state__in=["done", "ended"]) & Q(finished_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment.slug}: {several(self.generations, 'backup')}"

    @property
    def shown_ended_because(self) -> str:
        """The reason of the end in the reader's language."""
        return spoken(stored(self.ended_because, self.ended_because_sentence))


class PruneEntry(models.Model):
    """One backup of a prune request, with its replacement and the result."""

    class Outcome(models.TextChoices):
        """The result for the backup."""

        PLANNED = "planned", _("to be deleted")
        DELETED = "deleted", _("deleted")
        KEPT = "kept", _("kept")

    prune = models.ForeignKey(PruneRequest, on_delete=models.PROTECT, related_name="entries")
    index = models.PositiveIntegerField()
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="prunes")
    due_at = models.DateTimeField()
    newer = models.JSONField()
    objects_total = models.PositiveIntegerField()
    objects_sha256 = models.CharField(max_length=64)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.PLANNED)
    because = models.CharField(max_length=1000, blank=True)
    because_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)

    class Meta:
        verbose_name_plural = "prune entries"
        constraints = [
            models.UniqueConstraint(fields=["prune", "index"], name="prune_index_once"),
            models.UniqueConstraint(fields=["prune", "generation"], name="prune_generation_once"),
            models.CheckConstraint(
                name="prune_kept_says_why",
                condition=Q(outcome="kept") & ~Q(because="") | ~Q(outcome="kept") & Q(because=""),
            ),
        ]

    def __str__(self) -> str:
        return f"backup {self.generation_id}"

    @property
    def shown_because(self) -> str:
        """The reason why the backup was kept, in the reader's language."""
        return spoken(stored(self.because, self.because_sentence))
