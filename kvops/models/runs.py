"""Durable work. The row is the truth; a queued task is only a wake-up task."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops.models.approvals import ApprovalRequest
from kvops.models.environments import Environment
from kvops.models.people import Person
from kvops.models.schedules import Firing
from kvops.refusals import Sentence
from kvops.wording import spoken, stored


class RunQuerySet(models.QuerySet["Run"]):
    """Queries for runs."""

    def open(self) -> "RunQuerySet":
        """Runs that are not over."""
        return self.filter(state__in=Run.OPEN)

    def failed(self) -> "RunQuerySet":
        """Runs that stopped with an error and can be tried again."""
        return self.filter(state=Run.State.FAILED)

    def unattended(self) -> "RunQuerySet":
        """Failed runs of a week that were neither resumed nor followed by a newer run of the same work."""
        newer = Run.objects.filter(kind=OuterRef("kind"), subject=OuterRef("subject"), pk__gt=OuterRef("pk"))
        return self.failed().filter(~Exists(newer), finished_at__gte=Now() - timedelta(days=7))


CARRIED = ["drill", "prune_investigation", "clear"]
"""Kinds of runs that carry a standing approval, one after the other."""
DESTRUCTIVE = ["delete", "restore", "undo", "prune", "change", "bulk_change", *CARRIED]
"""Kinds of runs that need an approval."""


class Run(models.Model):
    """One execution of background work.

    queued -> running (a lease is taken, epoch + 1)
    running -> running (between steps the lease is given back; `wake_at` is the time of the next step)
    running -> succeeded | failed | stopped
    failed | stopped -> queued (resumed by a person; the same run, epoch + 1)

    Every update of a running row carries `WHERE epoch = mine`.
    """

    class Kind(models.TextChoices):
        """The kind of work; the `operation.py` of its feature has its handler."""

        SCAN = "scan", _("scan")
        BACKUP = "backup", _("backup")
        MASTERS = "masters", _("backup of master data")
        VERIFY = "verify", _("verification")
        CHECK = "check", _("integrity check")
        DELETE = "delete", _("deletion")
        CONFIRM = "confirm", _("proof of absence")
        RECONCILE = "reconcile", _("listing of the bucket")
        LATE_CHECK = "late_check", _("late check")
        PREVIEW = "preview", _("preview of a restore")
        RESTORE = "restore", _("restore")
        UNDO = "undo", _("undoing of a deletion")
        PRUNE = "prune", _("prune run")
        COMPARISON = "comparison", _("comparison of a backup")
        DRILL = "drill", _("restore drill")
        PRUNE_INVESTIGATION = "prune_investigation", _("prune of an investigation backup")
        LOOK = "look", _("look at the deployed code")
        SEARCH = "search", _("search of a deployed script")
        CHANGE = "change", _("change of a key")
        REVERSE_CHANGE = "reverse_change", _("preparation of a reverse change")
        ERASE_PROPOSAL = "erase_proposal", _("erasure of a proposal")
        CLEAR = "clear", _("scheduled clearing")
        BULK_CHANGE = "bulk_change", _("bulk change of a cache")
        OUTSIDE = "outside", _("search for changes outside KVOps")
        COMPARE_SETTING = "compare_setting", _("comparison of a setting")
        VAULT = "vault", _("keeping of a backup in 1Password")
        VAULT_CHECK = "vault_check", _("look into a 1Password vault")

    class State(models.TextChoices):
        """The state of the run."""

        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        STOPPED = "stopped", _("stopped")

    OPEN = (State.QUEUED, State.RUNNING)
    RESUMABLE = (State.FAILED, State.STOPPED)

    kind = models.CharField(max_length=20, choices=Kind)
    subject = models.CharField(max_length=100)
    label = models.CharField(max_length=300)
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, blank=True)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    approval_digest = models.CharField(max_length=64, blank=True)
    started_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True)
    firing = models.ForeignKey(Firing, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    actor = models.CharField(max_length=200)
    foreground = models.BooleanField(default=False)

    state = models.CharField(max_length=20, choices=State, default=State.QUEUED)
    owner = models.CharField(max_length=100, blank=True)
    epoch = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True)
    task_sent_at = models.DateTimeField(db_default=Now())
    starts = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    waiting_since = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.CharField(max_length=200, blank=True)

    done = models.BigIntegerField(default=0)
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_done = models.BigIntegerField(default=0, db_default=0)
    # How far it was when a person let it go on: its pace is that since then, without the pause.
    total = models.BigIntegerField(null=True, blank=True)
    calls = models.BigIntegerField(default=0)
    note = models.CharField(max_length=300, blank=True)
    cursor = models.JSONField(default=dict, blank=True)
    result = models.JSONField(default=dict, blank=True)
    error_code = models.CharField(max_length=50, blank=True)
    error = models.CharField(max_length=1000, blank=True)
    note_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    error_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    # `note` and `error` are English. Each has its template and facts beside it, if it has facts (`wording.kept`).

    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="run_owner_has_a_lease",
                condition=Q(owner="", lease_until__isnull=True) | (~Q(owner="") & Q(lease_until__isnull=False)),
            ),
            models.CheckConstraint(name="run_lease_only_while_running", condition=Q(owner="") | Q(state="running")),
            models.CheckConstraint(
                name="run_over_has_an_end",
                condition=Q(state__in=["queued", "running"], finished_at__isnull=True)
                | Q(state__in=["succeeded", "failed", "stopped"], finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="run_failed_says_why", condition=~Q(state="failed") | ~(Q(error_code="") | Q(error=""))
            ),
            models.CheckConstraint(
                name="run_destructive_is_approved",
                condition=~Q(kind__in=DESTRUCTIVE) | (Q(approval__isnull=False) & ~Q(approval_digest="")),
            ),
            models.CheckConstraint(
                name="run_destructive_in_a_worker",
                condition=~Q(kind__in=DESTRUCTIVE) | Q(foreground=False),
            ),
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(state__in=["queued", "running"]),
                name="run_one_open_per_subject",
            ),
            # A standing approval carries one run after the other.
            models.UniqueConstraint(
                fields=["approval", "kind"],
                condition=~Q(kind__in=CARRIED),
                name="run_one_per_approval_and_kind",
            ),
            models.CheckConstraint(
                name="run_progress_within_total",
                condition=Q(total__isnull=True) | Q(done__lte=F("total")),
            ),
        ]
        indexes = [
            models.Index(fields=["wake_at"], condition=Q(state__in=["queued", "running"]), name="run_to_wake"),
            models.Index(fields=["subject", "-id"], name="run_by_subject"),
            models.Index(fields=["kind", "-id"], name="run_by_kind"),
            # Nearly all runs succeed: they are found without an index, and cost these two nothing.
            models.Index(fields=["state", "-id"], condition=~Q(state="succeeded"), name="run_by_state"),
            models.Index(fields=["finished_at"], condition=Q(state="failed"), name="run_failed_lately"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}: {self.label}"

    @property
    def audited(self) -> log.Subject:
        """How the audit log names it."""
        return log.subject("run", self.pk, environment=self.environment.slug if self.environment else "")

    @property
    def why(self) -> Sentence:
        """The error as a sentence."""
        return stored(self.error, self.error_sentence)

    @property
    def news(self) -> Sentence:
        """The note as a sentence."""
        return stored(self.note, self.note_sentence)

    @property
    def shown_error(self) -> str:
        """The error in the reader's language."""
        return spoken(self.why)

    @property
    def shown_note(self) -> str:
        """The note in the reader's language."""
        return spoken(self.news)

    @property
    def shown_result(self) -> dict[str, object]:
        """The figures of the result, and its texts in the reader's language; nothing that is empty."""
        return {
            name: spoken(stored(value, self.result.get(f"{name}_sentence", {}))) if name == "problem" else value
            for name, value in self.result.items()
            if not name.endswith("_sentence") and value != ""
        }

    @property
    def percent(self) -> int | None:
        """Progress in whole percent; None while the total is unknown."""
        if self.total is None:
            return None
        return 100 if self.total == 0 else int(self.done * 100 / self.total)

    @property
    def is_open(self) -> bool:
        """Whether the run is not over."""
        return self.state in self.OPEN


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    """The questions about heartbeats."""

    def of(self, process: str) -> "HeartbeatQuerySet":
        """The rows of a process, one for each worker that has it."""
        return self.filter(Q(name=process) | Q(name__startswith=f"{process}@"))

    def watched(self) -> models.QuerySet[Any]:
        """The rows that must not become too old, each with its `process`, and `late`: whether it is too old."""
        late = ExpressionWrapper(Q(at__lt=Now() - F("within")), output_field=models.BooleanField())
        text = models.TextField()
        process = models.Func(F("name"), Value("@"), Value(1), function="split_part", output_field=text)
        return self.filter(within__isnull=False).annotate(late=late, process=process)


class Heartbeat(models.Model):
    """The time when a process was last seen alive; the canary's heartbeat proves that the cluster runs tasks."""

    name = models.CharField(max_length=50, primary_key=True)
    at = models.DateTimeField()
    worker = models.CharField(max_length=100, blank=True, db_default="")
    """The `manage.py worker` that it belongs to, as host and process; empty if there is only one of its kind."""
    within = models.DurationField(null=True)
    """The longest time until the next one; None if nobody watches it."""

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"
