"""Expirations that a Worker inside Cloudflare gives: the rule of a cache family, its rounds, and their reports."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from kvops import timing
from kvops.inventory.selection import HOUR
from kvops.models import ApprovalRequest, Family, Namespace, Person, Run
from kvops.refusals import Sentence
from kvops.wording import spoken, stored

DAY = 24 * HOUR
"""Seconds. The shortest expiration that a Worker gives."""
LONGEST_TTL = 365 * DAY
"""Seconds. The longest expiration that a Worker gives."""
MOST_GIVEN = 100_000
"""Keys. The greatest cap of a rule."""


class WorkerRule(models.Model):
    """A rule: to which keys a Worker gives an expiration, how long it is, how many keys in one round, and when.

    in force -> retired

    The rule and the generated script are in the digest of a standing approval. A change ends that approval. `cron` is
    in UTC, as Cloudflare's Cron Triggers are.
    """

    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT, related_name="worker_rules")
    family = models.ForeignKey(Family, on_delete=models.PROTECT, related_name="worker_rules")
    ttl = models.PositiveIntegerField()
    cap = models.PositiveIntegerField()
    cron = models.CharField(max_length=100)
    reason = models.TextField()
    made_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(name="worker_rule_gives_a_day", condition=Q(ttl__gte=DAY, ttl__lte=LONGEST_TTL)),
            models.CheckConstraint(name="worker_rule_has_a_cap", condition=Q(cap__gte=1, cap__lte=MOST_GIVEN)),
            models.CheckConstraint(name="worker_rule_says_why", condition=~Q(reason="")),
            models.CheckConstraint(
                name="worker_rule_retired_by_a_person",
                condition=Q(retired_at__isnull=True, retired_by__isnull=True)
                | Q(retired_at__isnull=False, retired_by__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["namespace", "family"], condition=Q(retired_at__isnull=True), name="worker_rule_once_per_family"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace} {self.family}"

    @property
    def subject(self) -> str:
        """The subject of the rule in the audit log, at the gate and for its runs."""
        return f"worker:{self.pk}"

    @property
    def newest_round(self) -> "WorkerRound | None":
        """The newest round; None before the first."""
        return self.rounds.select_related("run").order_by("-pk").first()


class WorkerRoundQuerySet(models.QuerySet["WorkerRound"]):
    """Queries on rounds of Workers."""

    def may_write(self, namespace: Namespace, family: Family) -> "WorkerRoundQuerySet":
        """Rounds that got a yes and may still write keys of the family, or wrote some a minute ago."""
        of_family = self.filter(rule__namespace=namespace, rule__family=family, run__isnull=False)
        recent = Now() - timedelta(seconds=timing.WORKER_QUIET)
        return of_family.filter(Q(run__state__in=Run.OPEN) | Q(heard_at__gt=recent))


class WorkerRound(models.Model):
    """One round of a Worker. Its run follows it.

    asked -> stopped                (KVOps said no, or no Worker asked at a due time; the reason is here)
    running -> given | nothing      (the last report is here)
    running -> stopped              (no report came, a report does not fit the rule, or an emergency stop; see the run)

    The state is derived from the run and the counts.
    """

    rule = models.ForeignKey(WorkerRule, on_delete=models.PROTECT, related_name="rounds")
    token = models.CharField(max_length=36, blank=True)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    run = models.OneToOneField(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="worker_round")
    scope_digest = models.CharField(max_length=64, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=1000, blank=True)
    reason_sentence = models.JSONField(default=dict, blank=True)
    """The reason of a round without a run, or the reason why a report does not fit the rule."""
    started_at = models.DateTimeField(db_default=Now())
    heard_at = models.DateTimeField(db_default=Now())
    ended = models.CharField(max_length=10, blank=True)
    listed = models.PositiveBigIntegerField(default=0)
    given = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    accepted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_note = models.TextField(blank=True)

    objects = WorkerRoundQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="worker_round_runs_or_says_why",
                condition=Q(run__isnull=False, approval__isnull=False)
                | (Q(run__isnull=True, given=0, failed=0, ended="") & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="worker_round_ends_in_a_known_way",
                condition=Q(ended__in=["", "complete", "cap", "refused", "end"]),
            ),
            models.CheckConstraint(
                name="worker_round_accepted_with_a_note",
                condition=Q(accepted_note="", accepted_by__isnull=True, accepted_at__isnull=True)
                | (~Q(accepted_note="") & Q(accepted_by__isnull=False, accepted_at__isnull=False)),
            ),
            models.UniqueConstraint(fields=["rule", "token"], condition=~Q(token=""), name="worker_round_asked_once"),
            models.UniqueConstraint(fields=["rule", "due_at"], name="worker_round_missed_once"),
        ]
        indexes = [models.Index(fields=["rule", "-id"], name="worker_round_newest")]

    def __str__(self) -> str:
        return f"round {self.pk} of {self.rule}"

    @property
    def state(self) -> str:
        """The state, from the run and the counts."""
        if self.run is None or self.run.state in Run.RESUMABLE:
            return "stopped"
        if self.run.is_open:
            return "running"
        return "given" if self.given else "nothing"

    @property
    def look(self) -> str:
        """The name of the state in `templatetags.states.LOOKS`."""
        return f"worker_{self.state}"

    @property
    def problem(self) -> Sentence:
        """The reason kept here, as a sentence; empty if there is none."""
        return stored(self.reason, self.reason_sentence)

    @property
    def why(self) -> Sentence:
        """The reason why the round stopped, as a sentence; empty if it did not."""
        return self.problem if self.run is None or self.reason else self.run.why

    @property
    def shown_reason(self) -> str:
        """The same in the reader's language."""
        return spoken(self.why)


class WorkerReport(models.Model):
    """One report of a round, as its Worker sent it. The numbers of a round's reports begin at 0."""

    round = models.ForeignKey(WorkerRound, on_delete=models.PROTECT, related_name="reports")
    part = models.PositiveIntegerField()
    given = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    """Of the body."""
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["round", "part"], name="worker_report_once")]

    def __str__(self) -> str:
        return f"report {self.part} of {self.round}"


class WorkerKey(models.Model):
    """A key that a Worker reported as written, or as perhaps written (`certain` is false)."""

    report = models.ForeignKey(WorkerReport, on_delete=models.PROTECT, related_name="keys")
    name = models.TextField(db_collation="C")
    certain = models.BooleanField()
    expires_at = models.DateTimeField()
    """The time by which the expiration has passed: the Worker wrote before its report arrived."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["report", "name"], name="worker_key_once_per_report")]

    def __str__(self) -> str:
        return self.name


class WorkerNonce(models.Model):
    """The number of a signed call, kept for the replay window, so that no call is taken twice."""

    rule = models.ForeignKey(WorkerRule, on_delete=models.PROTECT, related_name="+")
    nonce = models.CharField(max_length=36)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "nonce"], name="worker_nonce_once")]
        indexes = [models.Index(fields=["at"], name="worker_nonce_by_time")]

    def __str__(self) -> str:
        return self.nonce
