"""The objects of each bucket as of its newest listing. No object is changed or deleted because of a row here."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import Environment, Person, Run


class StoredObjectQuerySet(models.QuerySet["StoredObject"]):
    """Queries on objects."""

    def needing_a_look(self) -> "StoredObjectQuerySet":
        """Objects that are no unchanged part of a backup and have no person's note."""
        return self.filter(~Q(status="known"), noted_at=None)


class StoredObject(models.Model):
    """One object under an environment's prefix, and its backup.

    `size`, `etag` and `modified_at` are the store's answer at the newest listing. `written_size` and `written_etag` are
    its answer when KVOps put the object, or when a verification read it. The ETag tells listings apart; it is
    no digest of the content. An empty `written_etag` is not known: a listing never sets it.

    `status_at` is the time of the status. `seen_at` is the time of the listing that last changed the row; for an absent
    object it is the last time the object was listed. A note falls if the status or the content changes.
    """

    class Status(models.TextChoices):
        """The status of the object at the newest listing."""

        KNOWN = "known", _("part of a backup")
        UNKNOWN = "unknown", _("part of no backup")
        MISSING = "missing", _("missing from the bucket")
        CHANGED = "changed", _("changed since it was written")
        GONE = "gone", _("part of no backup, deleted")

    WRONG = (Status.MISSING, Status.CHANGED)
    """Statuses of an object whose backup is not in the bucket as it was written."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField(null=True, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    modified_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status)
    status_at = models.DateTimeField(db_default=Now())
    written_size = models.BigIntegerField(null=True, blank=True)
    written_etag = models.CharField(max_length=200, blank=True)
    note = models.CharField(max_length=2000, blank=True, db_default="")
    noted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    noted_at = models.DateTimeField(null=True, blank=True)

    objects = StoredObjectQuerySet.as_manager()

    @property
    def encrypted(self) -> bool:
        """Whether the object holds encrypted values, whose exact size is not shown."""
        return self.key.endswith(".age")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="stored_object_once"),
            models.CheckConstraint(
                name="stored_object_of_a_backup_names_it",
                condition=Q(status__in=["unknown", "gone"]) | Q(generation__isnull=False),
            ),
            models.CheckConstraint(
                name="stored_object_is_missing_or_was_seen",
                condition=Q(status="missing") | Q(seen_at__isnull=False, size__isnull=False),
            ),
            models.CheckConstraint(
                name="stored_object_note_has_person_and_time",
                condition=Q(note="", noted_by__isnull=True, noted_at__isnull=True)
                | (~Q(note="") & Q(noted_by__isnull=False, noted_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(fields=["key", "id"], name="stored_object_by_key"),
            models.Index(
                fields=["key", "id"], name="stored_object_to_look_at", condition=~Q(status="known") & Q(noted_at=None)
            ),
            models.Index(
                fields=["environment", "status"],
                name="stored_object_to_count",
                condition=~Q(status="known") & Q(noted_at=None),
            ),
            models.Index(fields=["status", "key", "id"], name="stored_object_by_status"),
        ]

    def __str__(self) -> str:
        return self.key


class StagedObject(models.Model):
    """One line of a listing in progress. The table is unlogged: after a crash of Postgres the listing starts again."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField()
    etag = models.CharField(max_length=200)
    modified_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key


class UnfinishedUpload(models.Model):
    """An unfinished multipart upload under an environment's prefix, as of the newest listing.

    KVOps puts each object in one piece, so another program began it. By its default rule, R2 aborts it after 7 days.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="unfinished_uploads")
    key = models.CharField(max_length=1024, db_collation="C")
    upload_id = models.CharField(max_length=1024)
    begun_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key", "upload_id"], name="unfinished_upload_once"),
        ]

    def __str__(self) -> str:
        return self.key
