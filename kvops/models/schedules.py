"""Schedules: work that starts by itself, and each of its starts."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.models.environments import Environment
from kvops.models.people import Person
from kvops.wording import spoken, stored


class Schedule(models.Model):
    """The times of a job of `kvops.operations.registry.JOBS`, in one environment or, without one, for all of them.

    `next_at` moves on in the transaction that starts the work. A paused schedule is never due.
    """

    job = models.CharField(max_length=40)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, null=True, blank=True)
    subject = models.CharField(max_length=100, blank=True, default="", db_default="")
    """The subject whose schedule it is, such as `clearing:5`; empty for a job that each environment has once."""
    expression = models.CharField(max_length=100)
    zone = models.CharField(max_length=64)
    next_at = models.DateTimeField()
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    paused_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job", "environment", "subject"], nulls_distinct=False, name="schedule_once_per_environment"
            ),
            models.CheckConstraint(
                name="schedule_paused_by_someone_who_says_why",
                condition=Q(paused_at__isnull=True, paused_by__isnull=True, paused_reason="")
                | (Q(paused_at__isnull=False, paused_by__isnull=False) & ~Q(paused_reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment.slug} {self.job}" if self.environment else self.job


class Firing(models.Model):
    """One due time at which a schedule started its work, or could not. It is unique per due time.

    `missed` due times before it, since `missed_since`, passed while no sweep ran; they are not started one by one.
    """

    class Outcome(models.TextChoices):
        """The outcome of the due time."""

        STARTED = "started", _("started")
        NOTHING = "nothing", _("nothing to do")
        REFUSED = "refused", _("could not be started")

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="firings")
    due_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.CharField(max_length=1000, blank=True)
    reason_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    missed = models.PositiveIntegerField(default=0)
    missed_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="firing_once_per_due_time"),
            models.CheckConstraint(
                name="firing_outcome_is_known", condition=Q(outcome__in=["started", "nothing", "refused"])
            ),
            models.CheckConstraint(name="firing_refused_says_why", condition=~Q(outcome="refused") | ~Q(reason="")),
            models.CheckConstraint(
                name="firing_missed_since_a_time",
                # A comparison with NULL never refuses a row, so the constraint also says that the value is present.
                condition=Q(missed=0, missed_since__isnull=True)
                | Q(missed__gt=0, missed_since__isnull=False, missed_since__lt=models.F("due_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule} at {self.due_at}"

    @property
    def shown_reason(self) -> str:
        """The reason in the reader's language."""
        return spoken(stored(self.reason, self.reason_sentence))

    @property
    def late(self) -> bool:
        """Whether the start was so long after its due time that people were notified."""
        return (self.at - self.due_at).total_seconds() > timing.FIRED_LATE

    @property
    def look(self) -> str:
        """The name of the outcome in `operations.registry.STATES`."""
        return f"firing_{self.outcome}"
