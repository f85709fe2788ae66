"""Drills: restores tried in the scratch namespace of an environment, with the result for each backup."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backups.models.generations import Generation
from kvops.models import ApprovalRequest, Environment, Person, Run
from kvops.refusals import Sentence
from kvops.wording import spoken, stored


class Drill(models.Model):
    """One drill: each backup is written to the scratch namespace, compared byte by byte and deleted there.

    under way (`passed` is unknown) -> passed | failed

    The namespace is kept as text, because another one may be bound later.
    """

    LATE = timedelta(days=35)
    """The time after a passed drill in which restores count as drilled."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, related_name="drills")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="drill")
    namespace_id = models.CharField(max_length=64)
    title = models.CharField(max_length=512)
    actor = models.CharField(max_length=200)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    passed = models.BooleanField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="drill_over_has_a_verdict",
                condition=Q(finished_at__isnull=True, passed__isnull=True)
                | Q(finished_at__isnull=False, passed__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["environment", "-id"], name="drill_newest")]

    def __str__(self) -> str:
        return f"drill {self.pk} of {self.environment.slug}"

    @property
    def state(self) -> str:
        """The result of the drill; while there is none, the state of its run."""
        return self.run.state if self.passed is None else "passed" if self.passed else "failed"

    @property
    def seconds(self) -> int:
        """The duration; 0 while the drill is in progress."""
        return round((self.finished_at - self.started_at).total_seconds()) if self.finished_at else 0


class DrilledBackup(models.Model):
    """One backup of a drill; `last_index` is the index of its last entry in the drill.

    `example` is the first name that differed from the backup. `expired` counts entries that expired before the
    comparison.
    """

    drill = models.ForeignKey(Drill, on_delete=models.PROTECT, related_name="backups")
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="drilled")
    number = models.PositiveIntegerField()
    keys = models.BigIntegerField()
    bytes = models.BigIntegerField()
    last_index = models.BigIntegerField()
    compared = models.BigIntegerField(default=0)
    differing = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    example = models.TextField(db_collation="C", blank=True)
    problem = models.CharField(max_length=1000, blank=True)
    problem_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    written_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "drilled backups"
        constraints = [
            models.UniqueConstraint(fields=["drill", "number"], name="drilled_backup_number_once"),
            models.UniqueConstraint(fields=["drill", "generation"], name="drilled_backup_once"),
            models.CheckConstraint(
                name="drilled_backup_in_order",
                condition=Q(finished_at__isnull=True) | Q(started_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"backup {self.generation_id} in drill {self.drill_id}"

    @property
    def state(self) -> str:
        """The result for the backup, or its progress."""
        if self.started_at is None:
            return "planned"
        if self.finished_at is None:
            return "running"
        return "passed" if self.good else "failed" if self.problem else "different"

    @property
    def why(self) -> Sentence:
        """The problem as a sentence."""
        return stored(self.problem, self.problem_sentence)

    @property
    def shown_problem(self) -> str:
        """The problem in the reader's language."""
        return spoken(self.why)

    @property
    def seconds(self) -> int:
        """The duration; 0 while the backup is in progress."""
        over = self.started_at and self.finished_at
        return round((self.finished_at - self.started_at).total_seconds()) if over else 0  # type: ignore[operator]

    @property
    def good(self) -> bool:
        """Whether every written entry was equal to the backup."""
        return not self.problem and not self.differing
