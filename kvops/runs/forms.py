"""The filters of the runs, as they stand in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.models import Person, Run
from kvops.models.runs import RunQuerySet
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField


class _PersonFilter(forms.ModelChoiceField):  # type: ignore[type-arg]
    """The person whose runs are listed; those of a schedule have none."""

    def __init__(self) -> None:
        people = Person.objects.order_by("name")
        super().__init__(people, label=_("Started by"), required=False, empty_label=_("Anyone"))

    def label_from_instance(self, obj: Person) -> str:
        """The person's name."""
        return obj.name


class RunFilter(forms.Form):
    """The filters for runs; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), *Run.State.choices)
    kind = ChoiceFilter(_("Kind"), _("All kinds"), *Run.Kind.choices)
    environment = EnvironmentFilter()
    started_by = _PersonFilter()
    after = PlaceField()

    def runs(self) -> RunQuerySet:
        """The runs that match the filters, newest first, after the position. If a filter is invalid, no runs."""
        if not self.is_valid():
            return Run.objects.none()
        chosen = dict(self.cleaned_data)
        after = chosen.pop("after")
        found = Run.objects.select_related("environment", "started_by", "firing__schedule").order_by("-pk")
        if after:
            found = found.filter(pk__lt=after)
        return found.filter(**{name: value for name, value in chosen.items() if value})

    @property
    def folds(self) -> bool:
        """Whether the scans of a day share a line; not if scans were asked for."""
        return self.is_valid() and self.cleaned_data["kind"] != Run.Kind.SCAN
