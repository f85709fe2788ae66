"""How a key family corresponds to a D1 table."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

DEFAULT_RULES = ("integer_boolean", "null_absent")
"""The type rules of a dataset that names none: a boolean equals 1 or 0, and an absent field equals NULL."""


def default_rules() -> list[str]:
    """A list of its own for each row."""
    return list(DEFAULT_RULES)


class TypeRule(models.TextChoices):
    """The type rules of `backups.datasets.type_rules`, in words."""

    INTEGER_BOOLEAN = "integer_boolean", _("true is 1, false is 0")
    NULL_ABSENT = "null_absent", _("a field that is absent is NULL")
    EMPTY_NULL = "empty_null", _("an empty text is NULL")
    NUMBER_TEXT = "number_text", _("a number is the text that spells it")
    TIME = "time", _("a time is the same in any zone and spelling")
    TIME_SECONDS = "time_seconds", _("a time may be seconds since 1970")
    TIME_MILLISECONDS = "time_milliseconds", _("a time may be milliseconds since 1970")
    ZONELESS_UTC = "zoneless_utc", _("a time without a zone is in UTC")
    NFC = "nfc", _("a text is the same in any Unicode normalisation")


class Dataset(models.Model):
    """A dataset: the rows of a table are in KV, one in each key or many in one key.

    `key` is the template of the name over columns, `fields` maps the path of a JSON field to its column. With many
    rows in a key, `row` is the template of a row's id. `path` leads to the rows inside the value, and `beside` has the
    paths of other members of the value. `rules` are type rules; `field_rules` has others for some fields. `migrated_at`
    has the time of the move to D1 by environment, and `newer_by` the column, type and zone of a row's time stamp.
    `orphans` are keys that need no row.
    """

    class Holds(models.TextChoices):
        """The rows that a key holds."""

        ROW = "row", _("one row")
        ARRAY = "array", _("an array of rows")
        OBJECT = "object", _("an object of rows by id")

    class OnlyInD1(models.TextChoices):
        """The meaning of a row without a key."""

        BLOCK = "block", _("a difference")
        ALLOW = "allow", _("allowed")

    name = models.SlugField(max_length=60, unique=True)
    binding = models.CharField(max_length=100)
    prefix = models.TextField(db_collation="C")
    database = models.CharField(max_length=100)
    table = models.CharField(max_length=100)
    key = models.CharField(max_length=300)
    holds = models.CharField(max_length=10, choices=Holds, default=Holds.ROW, db_default=Holds.ROW)
    path = models.CharField(max_length=300, blank=True, default="", db_default="")
    row = models.CharField(max_length=300, blank=True, default="", db_default="")
    fields = models.JSONField()
    ignore = models.JSONField(default=list, blank=True)
    beside = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    rules = models.JSONField(default=default_rules, db_default=models.Value(list(DEFAULT_RULES), models.JSONField()))
    field_rules = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    only_in_d1 = models.CharField(max_length=10, choices=OnlyInD1, default=OnlyInD1.BLOCK)
    migrated_at = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    newer_by = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    orphans = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["binding", "prefix"], name="dataset_prefix_once"),
            models.CheckConstraint(name="dataset_has_a_prefix", condition=~Q(prefix="")),
            models.CheckConstraint(
                name="dataset_of_many_rows_names_each", condition=Q(holds="row", row="") | ~Q(holds="row") & ~Q(row="")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def covers(self, prefix: str) -> bool:
        """Whether all keys under a prefix are of the dataset. A template without a column names a single key."""
        return prefix.startswith(self.prefix) if "{" in self.key else prefix == self.prefix
