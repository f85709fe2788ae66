"""The filters of keys that a person keeps under a name."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.http import QueryDict

from kvops.models.people import Person

LONGEST_QUERY = 4_000
"""Characters of the filters as an address. A name of 512 bytes takes 1,536 of them."""


class SavedFilter(models.Model):
    """Filters and order of the keys of a binding, as they stand in the address. Only its person sees it in a list.

    It holds for the binding in every environment. Its address works for everybody, because it names no saved filter.
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="saved_filters", db_index=False)
    binding = models.CharField(max_length=100)
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=LONGEST_QUERY)
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "binding", "name"], name="saved_filter_name_once"),
            models.CheckConstraint(name="saved_filter_has_name_and_query", condition=~Q(name="") & ~Q(query="")),
        ]

    def __str__(self) -> str:
        return self.name

    def filters(self) -> QueryDict:
        """The filters, as an address gives them to the page."""
        return QueryDict(self.query)
