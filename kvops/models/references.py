"""Code references to the keys: until the scanner exists, an operator's own statement."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from kvops.models.people import Person


class ReferenceStatement(models.Model):
    """An operator's search for code references: command, commit, number of hits, and the answer to them."""

    binding = models.CharField(max_length=100)
    prefix = models.TextField(db_collation="C")
    commit = models.CharField(max_length=100)
    command = models.TextField()
    hits = models.PositiveIntegerField()
    answer = models.TextField()
    by = models.ForeignKey(Person, on_delete=models.PROTECT)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="references_name_a_commit", condition=~Q(commit="") & ~Q(command="")),
            models.CheckConstraint(name="references_are_answered", condition=~Q(answer="")),
        ]

    def __str__(self) -> str:
        return f"{self.hits} references at {self.commit}"
