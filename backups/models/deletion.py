"""The deletion of a stage: its frozen names, its chunks, its exceptions, and deleted keys that reappeared."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.chunks import Chunk
from backups.models.cleanup import CleanupStage
from kvops.models import Person


class CleanupEntry(models.Model):
    """One frozen name. A trigger refuses any change of the set once the stage was submitted."""

    stage = models.ForeignKey(CleanupStage, on_delete=models.CASCADE, related_name="entries")
    index = models.BigIntegerField()
    name = models.TextField(db_collation="C")
    expiration = models.BigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "clean-up entries"
        constraints = [
            models.UniqueConstraint(fields=["stage", "index"], name="cleanup_index_once"),
            models.UniqueConstraint(fields=["stage", "name"], name="cleanup_name_once"),
            models.CheckConstraint(name="cleanup_name_is_no_path", condition=~Q(name__in=["", ".", ".."])),
        ]
        indexes = [models.Index(fields=["name", "stage"], name="cleanup_by_name")]

    def __str__(self) -> str:
        return self.name


class CleanupChunk(Chunk):
    """A range of entry indexes. The intent is committed before the call.

    planned -> intended -> sent -> settled
    planned -> settled                     (none of its names is left to send)
    intended -> settled                    (no answer came: settled by reading)

    A chunk of a later attempt sends only the names of its range that still existed unchanged after an earlier chunk.
    """

    stage = models.ForeignKey(CleanupStage, on_delete=models.PROTECT, related_name="chunks")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stage", "number"], name="chunk_number_once"),
            models.CheckConstraint(
                name="chunk_intended_names_its_set", condition=Q(state="planned") | ~Q(names_sha256="")
            ),
            models.CheckConstraint(name="chunk_three_tries", condition=Q(attempt__gte=1, attempt__lte=3)),
            models.CheckConstraint(
                name="chunk_at_most_1000",
                condition=Q(last_index__lt=F("first_index") + 1000, last_index__gte=F("first_index")),
            ),
        ]

    def __str__(self) -> str:
        return f"chunk {self.number} of stage {self.stage_id}"


class OtherName(models.Model):
    """A key that the proof listed under the prefix of a stage and that is not of its clean-up; the first of them."""

    stage = models.ForeignKey(CleanupStage, on_delete=models.PROTECT, related_name="other_names")
    name = models.TextField(db_collation="C")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stage", "name"], name="other_name_once_per_stage")]

    def __str__(self) -> str:
        return self.name


class CleanupException(models.Model):
    """A frozen name that its first chunk did not delete, with the result. A leftover needs a person's explanation."""

    class Outcome(models.TextChoices):
        """The result for the name."""

        CHANGED = "changed", _("changed since the backup")
        VANISHED = "vanished", _("already gone")
        EXPIRED = "expired", _("expired by itself")
        ALIVE = "alive", _("still in KV, to be sent again")
        FAILED = "failed", _("still in KV after three attempts")
        REAPPEARED = "reappeared", _("reappeared with another value")
        STOPPED = "stopped", _("left as it is: the run was ended early")

    LEFTOVERS = (Outcome.CHANGED, Outcome.FAILED, Outcome.REAPPEARED, Outcome.STOPPED)

    stage = models.ForeignKey(CleanupStage, on_delete=models.PROTECT, related_name="exceptions")
    chunk = models.ForeignKey(CleanupChunk, on_delete=models.PROTECT, null=True, blank=True)
    index = models.BigIntegerField()
    name = models.TextField(db_collation="C")
    outcome = models.CharField(max_length=20, choices=Outcome)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stage", "index"], name="exception_once_per_name"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"


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
