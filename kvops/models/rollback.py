"""Rollbacks: a manifest in a bucket names an audit entry that this database does not have."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from kvops.models.environments import Environment


class DatabaseRollbackQuerySet(models.QuerySet["DatabaseRollback"]):
    """Queries for rollbacks."""

    def in_force(self) -> "DatabaseRollbackQuerySet":
        """Rollbacks that are not accepted; while there is one, the product is read-only."""
        return self.filter(accepted_at__isnull=True)


class DatabaseRollback(models.Model):
    """A backup's manifest names an audit entry that is missing here, or has another hash.

    `sequence` and `hash` come from the manifest. `our_hash` is the hash of our entry with this number, empty if there
    is none; `our_sequence` is the number of our newest entry. `modified_at` is the time when the store got the
    manifest.
    """

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="rollbacks")
    manifest_key = models.CharField(max_length=1024)
    modified_at = models.DateTimeField()
    sequence = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    our_sequence = models.BigIntegerField()
    our_hash = models.CharField(max_length=64, blank=True)
    found_at = models.DateTimeField(db_default=Now())
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    objects = DatabaseRollbackQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], condition=Q(accepted_at__isnull=True), name="rollback_one_per_environment"
            ),
            models.CheckConstraint(name="rollback_is_one", condition=~Q(hash=F("our_hash"))),
            models.CheckConstraint(
                name="rollback_accepted_by_someone_who_says_why",
                condition=Q(accepted_at__isnull=True, accepted_by="", reason="")
                | (Q(accepted_at__isnull=False) & ~Q(accepted_by="") & ~Q(reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"rollback {self.pk}: {self.manifest_key}"
