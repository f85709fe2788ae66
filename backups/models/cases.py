"""Cases: the person who looks into the differences of a failed check, until when, and the outcome."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.models.datasets import Dataset
from backups.models.integrity import Check
from kvops.models import Environment, Person


def source_of(check: Check) -> str:
    """The kind of source that the cases of a check are about: one for all that is of KV."""
    return str(Check.Source.KV if check.is_of_kv else check.kind)


class CaseQuerySet(models.QuerySet["DifferenceCase"]):
    """Queries on cases."""

    def still_open(self) -> "CaseQuerySet":
        """Open cases, those without an explanation too, the first due first."""
        return self.filter(closed_at=None).order_by("due", "pk")

    def about(self, check: Check) -> "CaseQuerySet":
        """The cases of the check's dataset, environment and kind of source."""
        return self.filter(environment=check.environment_id, dataset=check.dataset_id, source=source_of(check))


class DifferenceCase(models.Model):
    """The differences of one dataset in one environment, from a failed check until they have an outcome.

    open, without an outcome or unexplained -> closed by an operator with an outcome, or by a check that passed

    An unexplained case stays open, so it is notified once it is overdue. A trigger keeps what a case is about and every
    closed case. The history is in the audit log, under the failed check.
    """

    class Outcome(models.TextChoices):
        """The outcome of a case. A person chooses all but the last."""

        D1_CORRECTED = "d1", _("D1 corrected")
        KV_RELOADED = "kv", _("KV loaded again")
        ACCEPTED = "accepted", _("accepted as it is")
        DATASET = "dataset", _("mistake in the dataset, corrected")
        UNEXPLAINED = "unexplained", _("unexplained so far")
        PASSED = "passed", _("a later check passed")

    CHOSEN = (Outcome.D1_CORRECTED, Outcome.KV_RELOADED, Outcome.ACCEPTED, Outcome.DATASET, Outcome.UNEXPLAINED)
    REASONED = (Outcome.ACCEPTED, Outcome.UNEXPLAINED)
    """Outcomes that need a reason."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="+")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="cases")
    source = models.CharField(max_length=10)  # of `source_of`, without choices: a new kind needs no migration
    failed = models.ForeignKey(Check, on_delete=models.PROTECT, related_name="+")
    opened_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(db_default=Now())
    owner = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="cases")
    due = models.DateField()
    note = models.TextField(blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome, blank=True)
    reason = models.TextField(blank=True)
    closed_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    passed = models.ForeignKey(Check, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = CaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "dataset", "source"], condition=Q(closed_at__isnull=True), name="case_open_once"
            ),
            models.CheckConstraint(
                name="case_closed_by_a_person_or_a_check",
                condition=Q(
                    outcome__in=["", "unexplained"],
                    closed_by__isnull=True,
                    passed__isnull=True,
                    closed_at__isnull=True,
                )
                | Q(
                    outcome__in=["d1", "kv", "accepted", "dataset"],
                    closed_by__isnull=False,
                    passed__isnull=True,
                    closed_at__isnull=False,
                )
                | Q(outcome="passed", closed_by__isnull=True, passed__isnull=False, closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="case_says_why", condition=~Q(outcome__in=["accepted", "unexplained"]) | ~Q(reason="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name}, {self.environment.name}"
