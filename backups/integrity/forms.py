"""The filter of a check's differences."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from backups.models import Check, Difference
from kvops.web.fields import ChoiceFilter, PlaceField


class DifferenceFilter(forms.Form):
    """The filters of the differences; every field may be empty."""

    kind = ChoiceFilter(_("Kind"), _("All kinds"), *Difference.Kind.choices)
    after = PlaceField()

    def differences(self, check: Check) -> QuerySet[Difference]:
        """The differences of the check in the order they were found; none if a filter is invalid."""
        if not self.is_valid():
            return Difference.objects.none()
        chosen = self.cleaned_data
        found = check.found.order_by("pk")
        if chosen["kind"]:
            found = found.filter(kind=chosen["kind"])
        return found.filter(pk__gt=chosen["after"]) if chosen["after"] else found
