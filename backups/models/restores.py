"""Restores: the keys and their backup, the state of KV before, and the outcome for every name.

A bulk change is written by the same rows: it gives each entry of its backup another expiration or a mark.
"""

from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.chunks import Chunk
from backups.models.cleanup import CleanupStage
from backups.models.generations import Generation
from kvops.models import ApprovalRequest, Environment, Family, Namespace, Person, Run
from kvops.names import visible
from kvops.wording import spoken, stored


class RestoreQuerySet(models.QuerySet["Restore"]):
    """Queries on restores."""

    def restoring(self) -> "RestoreQuerySet":
        """Restores and undos, without bulk changes."""
        return self.filter(operation="")

    def bulk_writing(self, namespace: Namespace, family: Family) -> "RestoreQuerySet":
        """Bulk changes of the family that are writing. A deletion of the same keys waits for them."""
        return self.exclude(operation="").filter(namespace=namespace, bulk__family=family, state="writing")

    def writing_names_of(self, restore: "Restore") -> "RestoreQuerySet":
        """Other restores and bulk changes that are writing, in the same namespace, and name a key of this one."""
        mine = RestoreEntry.objects.filter(restore=restore).values("name")
        shared = RestoreEntry.objects.filter(restore=OuterRef("pk"), name__in=mine)
        return self.filter(Exists(shared), namespace=restore.namespace_id, state="writing").exclude(pk=restore.pk)

    def naming(self) -> "RestoreQuerySet":
        """Restores with `only_name`: the name of the key if the list has exactly one."""
        alone = RestoreEntry.objects.filter(restore=OuterRef("pk"), restore__listed=True, restore__names=1)
        return self.annotate(only_name=Subquery(alone.values("name")[:1]))


class Restore(models.Model):
    """The restore of keys from a verified backup; an undo restores exactly the keys that a deletion deleted.

    preparing -> prepared                  (each name was compared with KV)
    prepared -> preparing                  (to be compared again)
    prepared -> submitted -> approved      (by another person)
    approved -> writing                    (claimed: the run and the used approval in one transaction)
    preparing -> writing                   (an undo: the approval of its deletion covers it)
    submitted | approved -> prepared       (rejected, withdrawn, expired, stale)
    writing -> done
    preparing | prepared -> ended          (cancelled)

    Each move is one conditional UPDATE and one audit entry.

    With an `operation` the row is a bulk change (`BulkChange`): its backup is made after the row, from the names that
    were chosen, and the row is prepared when that backup is verified. The names are those that the backup holds.
    """

    class Operation(models.TextChoices):
        """What is written in place of an entry of the backup; a restore writes the entry itself."""

        RESTORE = "", _("the entry as it is in the backup")
        EXPIRATION = "expiration", _("another expiration")
        MARK = "mark", _("a mark for regeneration")

    class State(models.TextChoices):
        """The state of the restore."""

        PREPARING = "preparing", _("being compared with KV")
        PREPARED = "prepared", _("compared with KV")
        SUBMITTED = "submitted", _("waiting for approval")
        APPROVED = "approved", _("approved")
        WRITING = "writing", _("writing")
        DONE = "done", _("done")
        ENDED = "ended", _("given up")

    class OnConflict(models.TextChoices):
        """The treatment of an existing key that differs from the backup."""

        SKIP = "skip", _("leave it as it is")
        STOP = "stop", _("write nothing at all")
        OVERWRITE = "overwrite", _("overwrite it after a verified backup")

    OVER = (State.DONE, State.ENDED)

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="restores")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    stage = models.ForeignKey(CleanupStage, on_delete=models.PROTECT, null=True, blank=True, related_name="undos")
    operation = models.CharField(max_length=10, choices=Operation, default="", db_default="", blank=True)
    deletions = models.ManyToManyField(CleanupStage, related_name="restores")
    """Stages whose deleted keys the restore writes, without its own stage if it is an undo."""
    prefix = models.TextField(db_collation="C", blank=True)
    listed = models.BooleanField(default=False)
    on_conflict = models.CharField(max_length=10, choices=OnConflict, default=OnConflict.SKIP)
    prepared_by = models.CharField(max_length=200)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    state = models.CharField(max_length=20, choices=State, default=State.PREPARING)
    names = models.BigIntegerField(default=0)
    names_sha256 = models.CharField(max_length=64, blank=True)
    preview_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    compared_at = models.DateTimeField(null=True, blank=True)
    found = models.JSONField(default=dict, blank=True)
    overwritten = models.BigIntegerField(default=0)
    overwritten_sha256 = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    safety = models.ForeignKey(
        Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="safe_restores"
    )

    written = models.BigIntegerField(default=0)
    equal = models.BigIntegerField(default=0)
    left = models.BigIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)
    returned_because = models.CharField(max_length=1000, blank=True)
    returned_because_sentence = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()), blank=True
    )

    objects = RestoreQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="restore_bulk_overwrites_its_own_backup",
                condition=Q(operation="")
                | Q(stage__isnull=True, safety__isnull=True, on_conflict="overwrite", listed=False),
            ),
            models.UniqueConstraint(fields=["approval"], name="restore_one_per_approval"),
            models.UniqueConstraint(fields=["run"], name="restore_one_per_run"),
            models.UniqueConstraint(fields=["stage"], name="restore_one_undo_per_stage"),
            models.CheckConstraint(
                name="restore_prepared_was_compared",
                condition=Q(stage__isnull=False)
                | Q(state__in=["preparing", "ended"])
                | (Q(compared_at__isnull=False) & ~Q(names_sha256="")),
            ),
            models.CheckConstraint(
                name="restore_submitted_has_an_approval",
                condition=~Q(state__in=["submitted", "approved", "writing", "done"]) | Q(approval__isnull=False),
            ),
            models.CheckConstraint(
                name="restore_submitted_has_a_reason",
                condition=~Q(state__in=["submitted", "approved", "writing", "done"]) | ~Q(reason=""),
            ),
            models.CheckConstraint(
                name="restore_writing_has_a_run", condition=~Q(state__in=["writing", "done"]) | Q(run__isnull=False)
            ),
            models.CheckConstraint(
                name="restore_undo_never_overwrites", condition=Q(stage__isnull=True) | Q(on_conflict="skip")
            ),
            models.CheckConstraint(
                name="restore_over_has_an_end",
                condition=Q(state__in=["done", "ended"], finished_at__isnull=False)
                | (~Q(state__in=["done", "ended"]) & Q(finished_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        what = "listed names" if self.listed else f"{visible(self.prefix)}*"
        if self.operation:
            return f"{self.environment.slug} {self.namespace.binding} {what}: {self.operation}"
        return f"{self.environment.slug} {self.namespace.binding} {what} from backup {self.generation_id}"

    @property
    def shown_returned_because(self) -> str:
        """The reason why it came back or did not move on, in the reader's language."""
        return spoken(stored(self.returned_because, self.returned_because_sentence))

    @property
    def is_undo(self) -> bool:
        """Whether the approval of a deletion covers the restore."""
        return self.stage_id is not None

    @property
    def is_bulk(self) -> bool:
        """Whether the row is a bulk change."""
        return self.operation != ""

    @property
    def overwritten_backup(self) -> Generation | None:
        """The backup that holds the keys to overwrite; a bulk change overwrites the keys of its own backup."""
        return self.generation if self.is_bulk else self.safety

    @property
    def is_open(self) -> bool:
        """Whether the restore is neither done nor cancelled."""
        return self.state not in self.OVER

    @property
    def conflicts(self) -> int:
        """The number of keys that differed from the backup at the comparison, or could not be read."""
        kinds = (*RestoreEntry.CONFLICTS, RestoreEntry.Found.SENSITIVE, RestoreEntry.Found.UNREADABLE)
        return sum(self.found.get(kind, 0) for kind in kinds)


class RestoreEntry(models.Model):
    """One name of a restore. A trigger refuses any change of the set once the restore was submitted."""

    class Found(models.TextChoices):
        """The result of the comparison with KV before the submit."""

        ABSENT = "absent", _("not in KV")
        EQUAL = "equal", _("in KV and equal")
        VALUE = "value", _("in KV with another value")
        METADATA = "metadata", _("in KV with other metadata")
        EXPIRATION = "expiration", _("in KV with another expiration")
        SENSITIVE = "sensitive", _("in KV and different, cannot be backed up first without encryption")
        EXPIRED = "expired", _("past its expiration")
        SOON = "soon", _("less than a minute left: KV takes no such key")
        UNREADABLE = "unreadable", _("cannot be read: Cloudflare refuses its name")

    class Outcome(models.TextChoices):
        """The result for the name."""

        PLANNED = "planned", _("not dealt with yet")
        SENT = "sent", _("sent, not compared yet")
        AGAIN = "again", _("not in KV after sending, to be sent again")
        WRITTEN = "written", _("restored")
        EQUAL = "equal", _("already in KV, equal")
        VALUE = "value", _("in KV with another value, left as it is")
        METADATA = "metadata", _("in KV with other metadata, left as it is")
        EXPIRATION = "expiration", _("in KV with another expiration, left as it is")
        SENSITIVE = "sensitive", _("in KV and different, left as it is: cannot be backed up first without encryption")
        CHANGED = "changed", _("changed since the comparison, left as it is")
        EXPIRED = "expired", _("past its expiration")
        SOON = "soon", _("less than a minute left, not written: decide by hand")
        DIFFERENT = "different", _("different in the comparison after the write")
        FAILED = "failed", _("not in KV after three attempts")
        STOPPED = "stopped", _("left as it is: the run was ended early")
        UNREADABLE = "unreadable", _("cannot be read: Cloudflare refuses its name")
        GONE = "gone", _("not in KV any more, not written")
        LOST = "lost", _("sent, but not in KV when it was read back")
        UNMARKED = "unmarked", _("its metadata takes no mark: no JSON object, or longer than 1,024 bytes")

    class Compared(models.TextChoices):
        """The result of comparing KV with the backup after the settle time."""

        UNKNOWN = "", _("unknown")
        EQUAL = "equal", _("equal")
        DIFFERENT = "different", _("different")
        ABSENT = "absent", _("not in KV")

    CONFLICTS = (Found.VALUE, Found.METADATA, Found.EXPIRATION)
    GOOD = (Outcome.WRITTEN, Outcome.EQUAL)
    UNDER_WAY = (Outcome.PLANNED, Outcome.SENT, Outcome.AGAIN)

    restore = models.ForeignKey(Restore, on_delete=models.CASCADE, related_name="entries")
    index = models.BigIntegerField()
    name = models.TextField(db_collation="C")
    size = models.BigIntegerField()
    found = models.CharField(max_length=10, choices=Found, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.PLANNED)
    compared = models.CharField(max_length=10, choices=Compared, blank=True)

    class Meta:
        verbose_name_plural = "restore entries"
        constraints = [
            models.UniqueConstraint(fields=["restore", "index"], name="restore_index_once"),
            models.UniqueConstraint(fields=["restore", "name"], name="restore_name_once"),
            models.CheckConstraint(name="restore_name_is_no_path", condition=~Q(name__in=["", ".", ".."])),
        ]
        indexes = [models.Index(fields=["name", "restore"], name="restore_by_name")]

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"


class RestoreChunk(Chunk):
    """A range of entry indexes. The intent is committed before the call.

    planned -> intended -> sent -> settled
    planned -> sent                        (nothing to write; the existing keys are read again)
    planned -> settled                     (halved, or ended early)
    intended -> settled                    (no answer came: settled by reading)
    """

    restore = models.ForeignKey(Restore, on_delete=models.PROTECT, related_name="chunks")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["restore", "number"], name="restore_chunk_number_once"),
            models.CheckConstraint(
                name="restore_chunk_intended_names_its_set", condition=Q(state="planned") | ~Q(names_sha256="")
            ),
            models.CheckConstraint(name="restore_chunk_three_tries", condition=Q(attempt__gte=1, attempt__lte=3)),
            models.CheckConstraint(
                name="restore_chunk_at_most_1000",
                condition=Q(last_index__lt=F("first_index") + 1000, last_index__gte=F("first_index")),
            ),
        ]

    def __str__(self) -> str:
        return f"chunk {self.number} of restore {self.restore_id}"
