"""Changes of single keys: the object of each proposal, its digest and its state. Values are never here."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.generations import Generation
from kvops.models import ApprovalRequest, Environment, Namespace, Person, Run
from kvops.names import visible
from kvops.wording import spoken, stored


class KeyChangeQuerySet(models.QuerySet["KeyChange"]):
    """Queries on changes."""

    def applied(self) -> "KeyChangeQuerySet":
        """Changes whose value was read back from KV."""
        return self.filter(state=KeyChange.State.DONE, outcome=KeyChange.Outcome.WRITTEN)


class KeyChange(models.Model):
    """The change of one key: a new value, metadata or expiration, or a new key. Values are never in this row.

    draft -> submitted -> approved     (by another person)
    approved -> writing                (claimed: the run and the used approval in one transaction)
    writing -> done
    draft | submitted | approved -> ended   (given up, rejected, withdrawn, expired)

    Each move is one conditional UPDATE and one audit entry. The proposal is the object `object_key` in `bucket`, whose
    ciphertext has the SHA-256 `object_sha256`. The run of a reverse change makes it: the row names the object before it
    is put, and has its SHA-256 afterwards. `digest_before` and `digest_after` are keyed digests of the old and the new
    entry; the run computes them.

    `attempt` counts the writes. The newest one is open from its intent until it was read back (`settled_at`).
    """

    class State(models.TextChoices):
        """The state of the change."""

        DRAFT = "draft", _("being prepared")
        SUBMITTED = "submitted", _("waiting for approval")
        APPROVED = "approved", _("approved")
        WRITING = "writing", _("writing")
        DONE = "done", _("done")
        ENDED = "ended", _("given up")

    class Outcome(models.TextChoices):
        """The result of reading the key back."""

        UNKNOWN = "", _("not read back yet")
        WRITTEN = "written", _("written and read back")
        DIFFERENT = "different", _("different in KV: another program wrote it meanwhile")
        FAILED = "failed", _("not in KV after three attempts")
        STOPPED = "stopped", _("not written: the run was ended early")

    OVER = (State.DONE, State.ENDED)
    TRIES = 3

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT)
    name = models.TextField(db_collation="C")
    new_key = models.BooleanField(default=False)
    asked_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="changes")
    created_at = models.DateTimeField(db_default=Now())
    reverses = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="reversed_by")

    bucket = models.CharField(max_length=100)
    object_key = models.CharField(max_length=1024, blank=True)
    object_sha256 = models.CharField(max_length=64, blank=True)
    recipients = models.JSONField(default=list)
    parts = models.JSONField(default=list)
    expiration_before = models.BigIntegerField(null=True, blank=True)
    expiration_after = models.BigIntegerField(null=True, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="changes")
    prepare_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    state = models.CharField(max_length=20, choices=State, default=State.DRAFT)
    reason = models.TextField(blank=True)
    repeats = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="repeated_by")
    no_qa_because = models.TextField(blank=True)
    approval = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, null=True, blank=True)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    ended_because = models.CharField(max_length=1000, blank=True)
    ended_because_sentence = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)

    attempt = models.PositiveSmallIntegerField(default=0)
    digest_key = models.CharField(max_length=16, blank=True)
    digest_before = models.CharField(max_length=64, blank=True)
    digest_after = models.CharField(max_length=64, blank=True)
    intended_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    gap_ms = models.PositiveIntegerField(default=0)
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    accepted_note = models.TextField(blank=True)
    erase_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    erased_at = models.DateTimeField(null=True, blank=True)

    objects = KeyChangeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["approval"], name="keychange_one_per_approval"),
            models.UniqueConstraint(fields=["run"], name="keychange_one_per_run"),
            models.UniqueConstraint(
                fields=["namespace", "name"],
                condition=~Q(state__in=["done", "ended"]),
                name="keychange_one_open_per_key",
            ),
            models.CheckConstraint(name="keychange_name_is_no_path", condition=~Q(name__in=["", ".", ".."])),
            models.CheckConstraint(
                name="keychange_asked_for_is_whole",
                condition=Q(state__in=["draft", "ended"])
                | (
                    Q(approval__isnull=False)
                    & ~Q(reason="")
                    & ~Q(object_sha256="")
                    & (Q(new_key=True) | Q(generation__isnull=False))
                ),
            ),
            models.CheckConstraint(
                name="keychange_writing_has_a_run", condition=~Q(state__in=["writing", "done"]) | Q(run__isnull=False)
            ),
            models.CheckConstraint(
                name="keychange_over_has_an_end",
                condition=Q(state__in=["done", "ended"], finished_at__isnull=False)
                | (~Q(state__in=["done", "ended"]) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="keychange_done_has_an_outcome",
                condition=Q(state="done") & ~Q(outcome="") | ~Q(state="done") & Q(outcome=""),
            ),
            models.CheckConstraint(name="keychange_three_tries", condition=Q(attempt__lte=3)),
            models.CheckConstraint(
                name="keychange_intended_names_its_digests",
                condition=Q(attempt=0, intended_at__isnull=True)
                | (Q(attempt__gt=0, intended_at__isnull=False) & ~Q(digest_after="") & ~Q(digest_key="")),
            ),
            models.CheckConstraint(
                name="keychange_accepted_by_whom_and_why",
                condition=Q(accepted_at__isnull=True, accepted_by__isnull=True, accepted_note="")
                | (Q(accepted_at__isnull=False, accepted_by__isnull=False, outcome="written") & ~Q(accepted_note="")),
            ),
            models.CheckConstraint(
                name="keychange_erased_when_over", condition=Q(erased_at__isnull=True) | Q(state__in=["done", "ended"])
            ),
        ]
        indexes = [models.Index(fields=["namespace", "name", "-id"], name="keychange_by_name")]

    def __str__(self) -> str:
        return f"{self.environment.slug} {self.namespace.binding} {visible(self.name)}"

    @property
    def shown_ended_because(self) -> str:
        """The reason of the end in the reader's language."""
        return spoken(stored(self.ended_because, self.ended_because_sentence))

    @property
    def shown_state(self) -> str:
        """The state for people: a written change is not done before somebody tried the application.

        A change whose request was rejected, withdrawn or expired was not given up.
        """
        asked = ApprovalRequest.State
        decided = {asked.REJECTED, asked.WITHDRAWN, asked.EXPIRED}
        if self.state == self.State.ENDED and self.approval is not None and self.approval.state in decided:
            return self.approval.state
        tried = self.accepted_at is not None or self.outcome != self.Outcome.WRITTEN
        return self.state if tried else "to_accept"

    @property
    def subject(self) -> str:
        """The subject in the audit log, at the gate and for its run. `change:` are prepared changes of the policy."""
        return f"keychange:{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether the change is neither done nor given up."""
        return self.state not in self.OVER

    @property
    def in_doubt(self) -> bool:
        """Whether a write was intended and not read back yet."""
        return self.attempt > 0 and self.settled_at is None
