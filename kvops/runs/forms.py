"""The filters of the runs, as they stand in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.models import Environment, Run
from kvops.models.runs import RunQuerySet


class RunFilter(forms.Form):
    """The filters for runs; every field may be empty."""

    state = forms.ChoiceField(label=_("State"), required=False, choices=[("", _("All states")), *Run.State.choices])
    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[("", _("All kinds")), *Run.Kind.choices])
    environment = forms.ModelChoiceField(
        Environment.objects.order_by("order"),
        label=_("Environment"),
        required=False,
        to_field_name="slug",
        empty_label=_("All environments"),
    )
    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

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
