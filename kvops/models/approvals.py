"""The one four-eyes record. The database refuses every forbidden state; no setting goes around it."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops.models.environments import Environment
from kvops.models.people import Person
from kvops.refusals import Sentence
from kvops.wording import spoken, stored


class ApprovalQuerySet(models.QuerySet["ApprovalRequest"]):
    """Queries for approval requests."""

    def pending(self) -> "ApprovalQuerySet":
        """Requests without a decision."""
        return self.filter(state=ApprovalRequest.State.PENDING)

    def waiting_for(self, person: Person) -> "ApprovalQuerySet":
        """Pending requests the person could decide, without their own and those about their own roles."""
        own = Q(requester=person) | Q(kind=ApprovalRequest.Kind.ROLE, subject=f"person:{person.pk}")
        return self.pending().exclude(own).filter(decide_by__gt=Now())


STANDING = ["drill", "investigation", "clearing"]
"""The kinds of requests that stand for a time instead of being used once."""


class ApprovalRequest(models.Model):
    """A request for a second person's decision, with the exact evidence shown to that person.

    pending -> approved | rejected | withdrawn | expired
    approved -> used | expired | withdrawn

    Each move is one conditional UPDATE. `evidence` is canonical JSON; `digest` is its SHA-256. The approver accepts
    each of the `risks` that the evidence names; a trigger insists on it. One with a `standing_until` is never used
    up: it stays approved until then, and every run under it carries it.
    """

    class Kind(models.TextChoices):
        """The action that the request asks for."""

        DELETE_KEYS = "delete_keys", _("delete keys")
        ENVIRONMENT = "environment", _("change environments")
        POLICY = "policy", _("change the policy")
        FAMILY = "family", _("register a key family")
        RELEASE_STOP = "release_stop", _("release an emergency stop")
        RESTORE = "restore", _("restore keys")
        DELETE_GENERATIONS = "delete_generations", _("prune backups")
        DRILL = "drill", _("restore drills")
        INVESTIGATION = "investigation", _("prune an investigation backup")
        PUT_KEY = "put_key", _("change a key")
        CLEARING = "clearing", _("scheduled clearing of a cache")
        BULK_CHANGE = "bulk_change", _("change many cache keys")
        ROLE = "role", _("change the roles of a person")

    class State(models.TextChoices):
        """The state of the request."""

        PENDING = "pending", _("waiting for a decision")
        APPROVED = "approved", _("approved")
        REJECTED = "rejected", _("rejected")
        WITHDRAWN = "withdrawn", _("withdrawn")
        EXPIRED = "expired", _("expired")
        USED = "used", _("used")

    kind = models.CharField(max_length=20, choices=Kind)
    subject = models.CharField(max_length=100)
    title = models.CharField(max_length=300)
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, blank=True)
    evidence = models.TextField()
    digest = models.CharField(max_length=64)
    requester = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="requests")
    created_at = models.DateTimeField(db_default=Now())
    decide_by = models.DateTimeField()
    standing_until = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=20, choices=State, default=State.PENDING)
    approver = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="decisions")
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    reason_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    accepted = models.JSONField(default=list, blank=True, db_default=Value([], models.JSONField()))
    use_by = models.DateTimeField(null=True, blank=True)
    starter = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="starts")
    used_at = models.DateTimeField(null=True, blank=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="approval_by_another_person", condition=Q(approver__isnull=True) | ~Q(approver=F("requester"))
            ),
            models.CheckConstraint(
                name="approval_not_started_by_approver",
                condition=Q(starter__isnull=True) | Q(approver__isnull=True) | ~Q(starter=F("approver")),
            ),
            models.CheckConstraint(
                name="approval_decided_has_person_and_time",
                condition=~Q(state__in=["approved", "rejected", "used"])
                | Q(approver__isnull=False, decided_at__isnull=False),
            ),
            models.CheckConstraint(
                name="approval_approver_has_time",
                condition=Q(approver__isnull=True, decided_at__isnull=True)
                | Q(approver__isnull=False, decided_at__isnull=False),
            ),
            models.CheckConstraint(
                name="approval_has_time_to_use", condition=~Q(state__in=["approved", "used"]) | Q(use_by__isnull=False)
            ),
            models.CheckConstraint(
                name="approval_decided_in_time",
                condition=Q(decided_at__isnull=True) | Q(decided_at__lte=F("decide_by")),
            ),
            models.CheckConstraint(
                name="approval_used_has_person_and_time",
                condition=Q(state="used", starter__isnull=False, used_at__isnull=False)
                | (~Q(state="used") & Q(starter__isnull=True, used_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="approval_used_in_time", condition=Q(used_at__isnull=True) | Q(used_at__lte=F("use_by"))
            ),
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(state="pending"), name="approval_one_pending_per_subject"
            ),
            models.UniqueConstraint(fields=["id", "digest"], name="approval_and_digest"),
            models.CheckConstraint(
                name="approval_stands_for_90_days",
                condition=(Q(standing_until__isnull=True) & ~Q(kind__in=STANDING))
                | Q(
                    kind__in=STANDING,
                    standing_until__isnull=False,
                    standing_until__lte=F("created_at") + models.Value(timedelta(days=90)),
                ),
            ),
            models.CheckConstraint(
                name="approval_standing_is_not_used_up",
                condition=Q(standing_until__isnull=True)
                | (~Q(state="used") & (Q(use_by__isnull=True) | Q(use_by=F("standing_until")))),
            ),
        ]
        indexes = [models.Index(fields=["subject", "-id"], name="approval_by_subject")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.title}"

    @property
    def reaches_production(self) -> bool:
        """Whether it is for production, or for rules and roles that hold in every environment."""
        return self.environment is None or self.environment.production

    @property
    def why(self) -> Sentence:
        """The reason of the decision or withdrawal as a sentence."""
        return stored(self.reason, self.reason_sentence)

    @property
    def shown_reason(self) -> str:
        """The reason of the decision or withdrawal, in the reader's language unless a person typed it."""
        return spoken(self.why)


class PreparedChange(models.Model):
    """A new definition of environments or policy: a command prepares it, an operator submits it, a reviewer decides.

    A family that a person registers on a page is a change of the policy, too. Its definition holds only this family;
    `about` has the pattern, so that several such changes can be open at once, one for each pattern.
    """

    kind = models.CharField(max_length=20, choices=ApprovalRequest.Kind)
    about = models.TextField(blank=True, default="", db_default="")
    definition = models.TextField()
    summary = models.TextField()
    prepared_by = models.CharField(max_length=200)
    prepared_at = models.DateTimeField(db_default=Now())
    approval = models.OneToOneField(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)
    discarded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="change_of_environments_or_policy", condition=Q(kind__in=["environment", "policy", "family"])
            ),
            models.CheckConstraint(
                name="change_about_a_pattern",
                condition=Q(kind="family") & ~Q(about="") | ~Q(kind="family") & Q(about=""),
            ),
            models.UniqueConstraint(
                fields=["kind", "about"],
                condition=Q(applied_at__isnull=True, discarded_at__isnull=True),
                name="change_one_open_per_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"prepared {self.kind} {self.pk}"
