"""The request budget, the daily use of the free plan, and the skew of the services' clocks from the database's."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.environments import Environment


class Budget(models.Model):
    """One limit, by default an account's. Its row is the lock; `blocked_until` comes from Cloudflare's answers."""

    name = models.CharField(max_length=100, unique=True)
    blocked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class BudgetSpend(models.Model):
    """Requests taken within one second."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="spends")
    second = models.BigIntegerField()
    calls = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["budget", "second"], name="budget_second_once"),
        ]

    def __str__(self) -> str:
        return f"{self.calls} at {self.second}"


class DailyUse(models.Model):
    """The operations sent for an account in one UTC day; a bulk call counts once per key."""

    account = models.CharField(max_length=64)
    day = models.DateField()
    reads = models.BigIntegerField(default=0)
    writes = models.BigIntegerField(default=0)
    deletes = models.BigIntegerField(default=0)
    lists = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "day"], name="use_once_a_day")]

    def __str__(self) -> str:
        return f"{self.account} on {self.day}"


class Skew(models.Model):
    """The last measurement: `seconds` by which the database's clock is ahead of the service's, negative if behind."""

    class Service(models.TextChoices):
        """The service whose clock is compared."""

        CLOUDFLARE = "cloudflare", _("Cloudflare")
        R2 = "r2", _("R2")

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="skews")
    service = models.CharField(max_length=20, choices=Service)
    seconds = models.FloatField()
    measured_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "service"], name="skew_once_per_service")]

    @property
    def too_large(self) -> bool:
        """Whether the skew is so large that nothing is deleted or restored."""
        return self.apart > timing.SKEW

    @property
    def apart(self) -> int:
        """Whole seconds between the clocks, in either direction."""
        return round(abs(self.seconds))

    def __str__(self) -> str:
        return f"{self.environment.slug}: {self.seconds:.0f} s ahead of {self.service}"
