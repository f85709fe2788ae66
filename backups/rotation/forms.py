"""The filters of the rotation of settings values, as they stand in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from backups.rotation.ages import RotationState, ValueAge, ages
from kvops.models import Category, Family
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, FamilyField, offer


class RotationFilter(forms.Form):
    """Every field may be empty."""

    environment = EnvironmentFilter()
    family = FamilyField(Family.objects.none(), label=_("Family"), required=False, empty_label=_("All families"))
    state = ChoiceFilter(_("State"), _("All states"), *RotationState.choices)
    after = forms.IntegerField(required=False, min_value=0, max_value=10_000_000, widget=forms.HiddenInput)

    def __init__(self, data: object) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # the parameters of an address
        settings = Family.objects.filter(category=Category.SETTINGS).order_by("binding", "pattern")
        self.fields["family"].queryset = settings  # type: ignore[attr-defined]
        self.families = list(settings)
        offer(self.fields["family"], self.families)

    def ages(self) -> list[ValueAge]:
        """The values that match, the most urgent first; none while a filter is wrong."""
        if not self.is_valid():
            return []
        chosen = self.cleaned_data
        found = ages([chosen["family"]] if chosen["family"] else self.families, chosen["environment"])
        return [one for one in found if chosen["state"] in ("", one.state)]

    @property
    def start(self) -> int:
        """The number of values before this page."""
        return self.cleaned_data.get("after") or 0 if self.is_valid() else 0
