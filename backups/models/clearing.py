"""Scheduled clearing: the rule of a cache family in one namespace, and each of its rounds."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from backups.models.cleanup import CleanupStage
from backups.models.deletion import CleanupException
from kvops.inventory.selection import Selection
from kvops.models import ApprovalRequest, Family, Namespace, Person, Run, Schedule
from kvops.names import visible
from kvops.refusals import Sentence
from kvops.wording import spoken, stored

MOST = 100_000
"""Keys. The greatest cap of a rule."""


class Clearing(models.Model):
    """A rule: which keys of a cache family are cleared, how many at most in one round, and when (`schedule`).

    in force -> retired

    The rule, its cap, its due times and its target are in the digest of a standing approval. A change of any of them
    ends that approval.
    """

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT, related_name="clearings")
    family = models.ForeignKey(Family, on_delete=models.PROTECT, related_name="clearings")
    prefix = models.TextField(db_collation="C")
    only = models.JSONField(default=dict, blank=True)
    cap = models.PositiveIntegerField()
    reason = models.TextField()
    made_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(name="clearing_has_a_cap", condition=Q(cap__gte=1, cap__lte=MOST)),
            models.CheckConstraint(name="clearing_says_why", condition=~Q(reason="")),
            models.CheckConstraint(
                name="clearing_retired_by_a_person",
                condition=Q(retired_at__isnull=True, retired_by__isnull=True)
                | Q(retired_at__isnull=False, retired_by__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["namespace", "prefix", "only"],
                condition=Q(retired_at__isnull=True),
                name="clearing_once_per_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace} {visible(self.prefix)}*"

    @property
    def subject(self) -> str:
        """The subject of the rule in the audit log, at the gate, for its runs and for its schedule."""
        return f"clearing:{self.pk}"

    @property
    def schedule(self) -> Schedule:
        """The schedule of the rule."""
        return Schedule.objects.get(job="clearing", subject=self.subject)

    @property
    def newest_round(self) -> "ClearingRound | None":
        """The newest round; None before the first."""
        return self.rounds.select_related("run", "stage").order_by("-pk").first()

    @property
    def selection(self) -> Selection:
        """Which keys under the prefix are meant."""
        return Selection.of(self.only)

    @property
    def pattern(self) -> str:
        """The prefix in the spelling of a family's pattern."""
        return f"{self.prefix}*"


class ClearingRound(models.Model):
    """One round of a rule, at a due time or started by a person.

    running -> stopped                     (before its first call, or by a failure; the reason is here or in the run)
    running -> nothing                     (no key is chosen)
    running -> proving -> cleared          (the keys are proven gone)
    running -> proving -> ended            (a person ended the run early; the keys not yet sent are left)

    The state is derived from the run and the stage, so no crash can leave another one behind.
    """

    clearing = models.ForeignKey(Clearing, on_delete=models.PROTECT, related_name="rounds")
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="clearing_round")
    stage = models.OneToOneField(
        CleanupStage, on_delete=models.PROTECT, null=True, blank=True, related_name="clearing_round"
    )
    scope_digest = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=1000, blank=True)
    reason_sentence = models.JSONField(default=dict, blank=True)
    """The reason of a round that was refused before it had a run, in English and as a template with facts."""
    started_at = models.DateTimeField(db_default=Now())
    accepted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_note = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="clearing_round_runs_or_says_why",
                condition=Q(run__isnull=False, reason="", approval__isnull=False)
                | (Q(run__isnull=True, stage__isnull=True) & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="clearing_round_accepted_with_a_note",
                condition=Q(accepted_note="", accepted_by__isnull=True, accepted_at__isnull=True)
                | (~Q(accepted_note="") & Q(accepted_by__isnull=False, accepted_at__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["clearing", "-id"], name="clearing_round_newest")]

    def __str__(self) -> str:
        return f"round {self.pk} of {self.clearing}"

    @property
    def state(self) -> str:
        """The state, from the run and the stage."""
        if self.run is None or self.run.state in Run.RESUMABLE:
            return "stopped"
        if self.run.is_open:
            return "running"
        if self.stage is None:
            return "nothing"
        if self.stage.state != CleanupStage.State.CONFIRMED:
            return "proving"
        left = self.stage.exceptions.filter(outcome=CleanupException.Outcome.STOPPED)
        return "ended" if self.stage.skipped and left.exists() else "cleared"

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        return f"clearing_{self.state}"

    @property
    def why(self) -> Sentence:
        """The reason why the round stopped, as a sentence; empty if it did not."""
        if self.run is None:
            return stored(self.reason, self.reason_sentence)
        return self.run.why

    @property
    def shown_reason(self) -> str:
        """The same in the reader's language."""
        return spoken(self.why)
