"""The integrity checks of backups and files against D1, and the people who look into their differences."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.models.datasets import Dataset, TypeRule
from backups.models.generations import Generation
from kvops.models import Environment, Namespace, Person, Run

_OF_ROWS = Q(generation__isnull=True, namespace__isnull=True) | Q(generation__purpose=Generation.Purpose.MASTERS)


class CheckQuerySet(models.QuerySet["Check"]):
    """Queries on checks."""

    def passed(self) -> "CheckQuerySet":
        """Checks that found no difference."""
        return self.filter(outcome=Check.Outcome.PASSED)

    def of_kv(self) -> "CheckQuerySet":
        """Checks of all keys in KV, in a backup or as it is now: only these say whether KV agrees with D1.

        A check that left keys out, because they differ, says so of none.
        """
        leaving_out = Generation.objects.filter(stages__left_out__0__isnull=False)
        return self.exclude(_OF_ROWS).exclude(generation__in=leaving_out)

    def of_rows(self) -> "CheckQuerySet":
        """Checks of rows, in a backup of master data or in a file."""
        return self.filter(_OF_ROWS)


class Check(models.Model):
    """One comparison with D1; a failed check names every difference.

    It is of a backup, of the keys in a namespace as they are now, or of a file. `keys` counts keys, and `kv_rows` the
    rows in them. `rules` has each type rule that applied, with the number of fields that are equal only by it.

    pending -> passed | failed
    """

    class Outcome(models.TextChoices):
        """The result of the check."""

        PENDING = "pending", _("running")
        PASSED = "passed", _("no difference")
        FAILED = "failed", _("differences")

    class Source(models.TextChoices):
        """The kind of source that is compared with D1."""

        KV = "kv", _("Backup of KV against D1")
        LIVE = "live", _("KV itself against D1")
        ROWS = "rows", _("Backup of rows against D1")
        FILE = "file", _("File against D1")

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT)
    definition = models.JSONField()
    definition_digest = models.CharField(max_length=64)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, null=True, blank=True, related_name="checks")
    namespace = models.ForeignKey(Namespace, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    source = models.CharField(max_length=1000)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="checks")
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.PENDING)
    keys = models.BigIntegerField(default=0)
    kv_rows = models.BigIntegerField(default=0, db_default=0)
    rows = models.BigIntegerField(default=0)
    rules = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    differences = models.BigIntegerField(default=0)
    only_in_d1 = models.BigIntegerField(default=0)
    newer = models.BigIntegerField(default=0, db_default=0)
    """Differences whose row is newer in D1: changed after the move to D1."""
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = CheckQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="check_passed_without_difference", condition=~Q(outcome="passed") | Q(differences=0)
            ),
            models.CheckConstraint(
                name="check_finished_has_a_time",
                condition=Q(outcome="pending", finished_at__isnull=True)
                | (~Q(outcome="pending") & Q(finished_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="check_reads_one_source", condition=Q(generation__isnull=True) | Q(namespace__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"check {self.pk}: {self.source}"

    @property
    def kind(self) -> Source:
        """The kind of source. Rows and files come from D1 or the team's API, so they say nothing about KV."""
        if self.namespace_id is not None:
            return self.Source.LIVE
        if self.generation is None:
            return self.Source.FILE
        return self.Source.ROWS if self.generation.purpose == Generation.Purpose.MASTERS else self.Source.KV

    def label_of(self, difference: str) -> str:
        """A kind of difference in words that fit the source."""
        kind = Difference.Kind(difference)
        if self.many_rows_in_a_key:
            return str(Difference.IN_A_KEY.get(kind, kind.label))
        return str(kind.label if self.is_of_kv else Difference.NOT_IN_KV.get(kind, kind.label))

    @property
    def many_rows_in_a_key(self) -> bool:
        """Whether a key of the dataset holds many rows, so that a difference names the key and the row."""
        return str(self.definition.get("holds", Dataset.Holds.ROW)) != Dataset.Holds.ROW

    @property
    def is_of_kv(self) -> bool:
        """Whether the check says if KV agrees with D1."""
        return self.kind in {self.Source.KV, self.Source.LIVE}

    @property
    def rules_in_words(self) -> list[tuple[str, str, int]]:
        """Each type rule that applied, in words, with the number of fields that are equal only by it."""
        return [(rule, str(TypeRule(rule).label), number) for rule, number in self.rules.items()]

    @property
    def audited(self) -> log.Subject:
        """The subject of the check in the audit log."""
        return log.subject("check", self.pk, str(self), environment=self.environment.slug)


class CheckRow(models.Model):
    """A row of one side of a comparison in progress: a digest of each field. Emptied at the end.

    It has the name of its key and, in a key of many rows, its id. `fields` is laid out by `datasets.fields`; it is
    empty for a row that is no object, and for a row of `both`. `by_rule` has the fields that a type rule changed, if
    there are any. `newer_at` is the time stamp of a row of D1 that was changed after the move.
    """

    class Side(models.TextChoices):
        """The side of the row."""

        BACKUP = "backup"
        D1 = "d1"
        UNREADABLE = "unread"
        """A key of the backup whose value has no readable rows."""
        BOTH = "both"
        """A row that both sides have with equal fields."""

    # Without a constraint and an index: each would cost time for millions of rows, and the rows are read all at once.
    check_run = models.ForeignKey(
        Check, on_delete=models.CASCADE, related_name="staged", db_constraint=False, db_index=False
    )
    side = models.CharField(max_length=6, choices=Side)
    name = models.TextField(db_collation="C")
    row = models.TextField(db_collation="C", default="", db_default="")
    fields = models.BinaryField(null=True)
    by_rule = models.JSONField(null=True)
    newer_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.side}: {self.name} {self.row}".strip()


class Difference(models.Model):
    """One difference, by key, row and field.

    `row` is empty if the key holds one row, or if the difference is of the whole key.
    """

    class Kind(models.TextChoices):
        """The kind of difference."""

        MISSING_IN_D1 = "missing_in_d1", _("the key has no row in D1")
        ONLY_IN_D1 = "only_in_d1", _("the row has no key in KV")
        FIELD = "field", _("the field differs")
        NOT_AN_OBJECT = "not_an_object", _("the value is not a JSON object")
        UNKNOWN_FIELD = "unknown_field", _("the field is not in the dataset")
        DUPLICATE = "duplicate", _("the key stands for several rows")
        NO_ROWS = "no_rows", _("the value holds no rows at the path")
        NO_ID = "no_id", _("the row has no id")

    NOT_IN_KV = {
        Kind.MISSING_IN_D1: _("the entry has no row in D1"),
        Kind.ONLY_IN_D1: _("the row has no entry"),
    }
    """Labels where the source is not KV."""
    IN_A_KEY = {
        Kind.MISSING_IN_D1: _("the row of the key is not in D1"),
        Kind.ONLY_IN_D1: _("the row is not in its key"),
        Kind.NOT_AN_OBJECT: _("the row is not a JSON object"),
        Kind.DUPLICATE: _("the id stands for several rows"),
    }
    """Labels where a key holds many rows."""

    check_run = models.ForeignKey(Check, on_delete=models.CASCADE, related_name="found")
    name = models.TextField(db_collation="C")
    row = models.TextField(db_collation="C", blank=True, default="", db_default="")
    kind = models.CharField(max_length=20, choices=Kind)
    field = models.CharField(max_length=200, blank=True)
    newer_at = models.DateTimeField(null=True, blank=True)
    """The time stamp of the row if it is newer in D1."""

    class Meta:
        indexes = [models.Index(fields=["check_run", "name"], name="difference_by_name")]

    def __str__(self) -> str:
        return f"{self.name} {self.row}".strip() + f": {self.kind} {self.field}".rstrip()

    @property
    def label(self) -> str:
        """The kind of the difference in words that fit the check's source."""
        return self.check_run.label_of(self.kind)


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
