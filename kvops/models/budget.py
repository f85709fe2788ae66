"""Requests spent against Cloudflare's limit, shared by every process through Postgres."""

from django.db import models


class Budget(models.Model):
    """One limit, by default an account's. Its row is the lock; `blocked_until` is what Cloudflare asked for."""

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
