"""Investigations: the reason for backing up a cache, and the end of its backup (policy 3.3)."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from backups.models.generations import Generation
from kvops import clock, timing
from kvops.models import Environment, Person, Run


class InvestigationQuerySet(models.QuerySet["Investigation"]):
    """Queries on investigations."""

    def there(self) -> "InvestigationQuerySet":
        """Investigations whose backup exists, or may exist."""
        return self.filter(over_at=None)


class Investigation(models.Model):
    """A question about a cache, to be answered from a backup of it.

    open -> closed by a person, or at its end by the time -> over (its backup is deleted)

    `run` deletes the backup under a standing approval of this investigation. If the backup was never finished, there is
    no such run.
    """

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    title = models.CharField(max_length=200)
    reason = models.TextField()
    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="investigation")
    asked_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="investigations")
    created_at = models.DateTimeField(db_default=Now())
    ends_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    closed_because = models.TextField(blank=True)
    run = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="investigation")
    over_at = models.DateTimeField(null=True, blank=True)

    objects = InvestigationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="investigation_has_a_name", condition=~Q(title="") & ~Q(reason="")),
            models.CheckConstraint(
                name="investigation_ends_within_30_days",
                condition=Q(ends_at__gt=F("created_at"))
                & Q(ends_at__lte=F("created_at") + models.Value(timedelta(days=timing.CACHE_RETENTION_DAYS))),
            ),
            models.CheckConstraint(
                name="investigation_closed_by_whom_and_why",
                condition=Q(closed_at__isnull=True, closed_by__isnull=True, closed_because="")
                | (Q(closed_at__isnull=False, closed_by__isnull=False) & ~Q(closed_because="")),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def state(self) -> str:
        """The state: open, closed (its backup still exists), being deleted, or over."""
        if self.over_at is not None:
            return "over"
        if self.run is not None:
            return "deleting"
        return "closed" if self.closed_at is not None or clock.seconds_until(self.ends_at) <= 0 else "open"

    @property
    def why(self) -> str:
        """Its title, and its result once a person closed it."""
        return f"{self.title}: {self.closed_because}" if self.closed_because else self.title

    @property
    def subject(self) -> str:
        """The subject of its approval and its run."""
        return f"investigation:{self.pk}"
