"""How a key family corresponds to a D1 table."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Dataset(models.Model):
    """A dataset: each row of the table is one KV key.

    `key` is the template of the name over columns, `fields` maps a JSON field to its column.
    """

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
    fields = models.JSONField()
    ignore = models.JSONField(default=list, blank=True)
    only_in_d1 = models.CharField(max_length=10, choices=OnlyInD1, default=OnlyInD1.BLOCK)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["binding", "prefix"], name="dataset_prefix_once"),
            models.CheckConstraint(name="dataset_has_a_prefix", condition=~Q(prefix="")),
        ]

    def __str__(self) -> str:
        return self.name
