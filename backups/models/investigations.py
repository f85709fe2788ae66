"""Investigations: why a cache is backed up, and when its backup is deleted again (policy 3.3)."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from backups.models.generations import Generation
from kvops import clock, timing
from kvops.models import Environment, Person, Run


class InvestigationQuerySet(models.QuerySet["Investigation"]):
    """Investigations, asked for in the words of the domain."""

    def there(self) -> "InvestigationQuerySet":
        """Those whose copy is there, or may be."""
        return self.filter(over_at=None)


class Investigation(models.Model):
    """A question that a copy of a cache is to answer.

    open -> closed by a person, or at its end by the time -> over (its copy is gone)

    `run` deletes the copy, under an approval that stands for this investigation. One whose copy was never finished has
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
        """Where it is: open, closed (its copy is still there), being deleted, or over."""
        if self.over_at is not None:
            return "over"
        if self.run is not None:
            return "deleting"
        return "closed" if self.closed_at is not None or clock.seconds_until(self.ends_at) <= 0 else "open"

    @property
    def why(self) -> str:
        """Its name, and what was found out once somebody closed it."""
        return f"{self.title}: {self.closed_because}" if self.closed_because else self.title

    @property
    def subject(self) -> str:
        """What its approval and its run are about."""
        return f"investigation:{self.pk}"
