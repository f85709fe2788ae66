"""The connections to services: request budget, daily use, clock skew, refused tokens, and counts of answers."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.environments import Environment


class Budget(models.Model):
    """One limit, by default of all environments. Its row is the lock; the rest comes from Cloudflare's answers."""

    name = models.CharField(max_length=100, unique=True)
    blocked_until = models.DateTimeField(null=True, blank=True)
    told_left = models.IntegerField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)

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


class RefusedToken(models.Model):
    """A time in which a service refused the secret behind a reference of an environment; one row until it is accepted.

    `status` is the answer: 401 for an unknown token, 403 for a missing permission. `route` is the refused call. An
    unknown token is accepted again with any good answer, a missing permission with a good answer to that call.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="refused_tokens")
    reference = models.CharField(max_length=200)
    service = models.CharField(max_length=20, choices=Skew.Service)
    status = models.PositiveSmallIntegerField()
    route = models.CharField(max_length=60)
    since = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())
    told_at = models.DateTimeField(null=True, blank=True)
    over_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "reference"], condition=Q(over_at=None), name="refused_token_open_once"
            ),
            models.CheckConstraint(name="refused_token_names_a_reference", condition=~Q(reference="")),
            models.CheckConstraint(name="refused_token_was_refused", condition=Q(status__in=[401, 403])),
        ]

    def __str__(self) -> str:
        return f"{self.reference}: {self.status} since {self.since}"


class AnswerCount(models.Model):
    """How many answers to a call had a status and came within `within` seconds, for the metrics; status 0 is none."""

    route = models.CharField(max_length=60)
    status = models.PositiveSmallIntegerField()
    within = models.FloatField()
    answers = models.PositiveBigIntegerField()
    seconds = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["route", "status", "within"], name="answer_count_once"),
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.status} within {self.within} s: {self.answers}"
