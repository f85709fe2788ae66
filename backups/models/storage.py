"""The bucket as its newest listing showed it. Objects themselves are never changed or deleted because of a row here."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import Environment, Run


class StoredObject(models.Model):
    """One object under an environment's prefix, and the copy it belongs to.

    `size` and `etag` are the store's words at the newest listing, `written_size` and `written_etag` those when we
    put the object, or saw it first. The ETag tells listings apart; it is no digest of the content.
    """

    class Status(models.TextChoices):
        """What the newest listing says of it."""

        KNOWN = "known", _("part of a copy")
        UNKNOWN = "unknown", _("part of no copy")
        MISSING = "missing", _("missing from the bucket")
        CHANGED = "changed", _("changed since it was written")

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField(null=True, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status)
    written_size = models.BigIntegerField(null=True, blank=True)
    written_etag = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "key"], name="stored_object_once"),
            models.CheckConstraint(
                name="stored_object_of_a_copy_names_it",
                condition=Q(status="unknown") | Q(generation__isnull=False),
            ),
            models.CheckConstraint(
                name="stored_object_is_missing_or_was_seen",
                condition=Q(status="missing") | Q(seen_at__isnull=False, size__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["key", "id"], name="stored_object_by_key"),
            models.Index(fields=["status", "key", "id"], name="stored_object_by_status"),
        ]

    def __str__(self) -> str:
        return self.key


class StagedObject(models.Model):
    """One line of a listing under way. The table is not logged: after a crash of Postgres the listing starts again."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE)
    key = models.CharField(max_length=1024, db_collation="C")
    size = models.BigIntegerField()
    etag = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.key
