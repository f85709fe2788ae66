"""Emergency stops: while one is on, nothing destructive is started or sent in its environment."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from kvops.models.approvals import ApprovalRequest
from kvops.models.environments import Environment
from kvops.models.people import Person


class EmergencyStopQuerySet(models.QuerySet["EmergencyStop"]):
    """Queries for emergency stops."""

    def in_force(self) -> "EmergencyStopQuerySet":
        """Stops that are not released."""
        return self.filter(released_at__isnull=True)


class EmergencyStop(models.Model):
    """A stop of an environment: on from its first moment, released once, by an approval of two people."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="stops")
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="stops")
    at = models.DateTimeField(db_default=Now())
    reason = models.CharField(max_length=500, blank=True)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    objects = EmergencyStopQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], condition=Q(released_at__isnull=True), name="stop_one_per_environment"
            ),
            models.CheckConstraint(
                name="stop_released_by_an_approval",
                condition=Q(approval__isnull=True, released_at__isnull=True)
                | Q(approval__isnull=False, released_at__isnull=False),
            ),
            models.CheckConstraint(
                name="stop_released_after_it_began", condition=Q(released_at__isnull=True) | Q(released_at__gte=F("at"))
            ),
        ]

    def __str__(self) -> str:
        return f"stop {self.pk} of {self.environment.slug}"
