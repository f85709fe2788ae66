"""How a key family corresponds to a D1 table."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


DEFAULT_RULES = ("integer_boolean", "null_absent")
"""The type rules of a dataset that names none: a boolean equals 1 or 0, and an absent field equals NULL."""


def default_rules() -> list[str]:
    """A list of its own for each row."""
    return list(DEFAULT_RULES)


class Dataset(models.Model):
    """A dataset: the rows of a table are in KV, one in each key or many in one key.

    `key` is the template of the name over columns, `fields` maps the path of a JSON field to its column. With many
    rows in a key, `path` leads to them inside the value, and `row` is the template of a row's id.
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
    rules = models.JSONField(default=default_rules, db_default=models.Value(list(DEFAULT_RULES), models.JSONField()))
    field_rules = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    only_in_d1 = models.CharField(max_length=10, choices=OnlyInD1, default=OnlyInD1.BLOCK)

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
