"""The filters of the runs, as they stand in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.models import Run
from kvops.models.runs import RunQuerySet
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField


class RunFilter(forms.Form):
    """The filters for runs; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), *Run.State.choices)
    kind = ChoiceFilter(_("Kind"), _("All kinds"), *Run.Kind.choices)
    environment = EnvironmentFilter()
    after = PlaceField()

    def runs(self) -> RunQuerySet:
        """The runs that match the filters, newest first, after the position. If a filter is invalid, no runs."""
        if not self.is_valid():
            return Run.objects.none()
        chosen = dict(self.cleaned_data)
        after = chosen.pop("after")
        found = Run.objects.select_related("environment").order_by("-pk")
        if after:
            found = found.filter(pk__lt=after)
        return found.filter(**{name: value for name, value in chosen.items() if value})
