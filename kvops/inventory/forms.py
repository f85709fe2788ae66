"""The filters of the keys, as they stand in the address, and the name of one key."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.inventory import browse
from kvops.inventory.browse import Expiring
from kvops.models import Category, Family, Namespace


class KeyFilter(forms.Form):
    """Which keys to show; every field may be empty."""

    prefix = forms.CharField(  # type: ignore[assignment]  # not Django's prefix of the field names
        label=_("Name begins with"), required=False, strip=False, max_length=512
    )
    expiring = forms.TypedChoiceField(
        label=_("Expiration"),
        required=False,
        choices=[("", _("All")), *Expiring.choices],
        coerce=Expiring,
        empty_value=None,
    )
    category = forms.TypedChoiceField(
        required=False,
        choices=[("", ""), *Category.choices],
        coerce=Category,
        empty_value=None,
        widget=forms.HiddenInput,
    )
    family = forms.ModelChoiceField(Family.objects.none(), required=False, widget=forms.HiddenInput)
    after = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def __init__(self, namespace: Namespace, data: dict[str, str]) -> None:
        super().__init__(data)
        self.namespace = namespace
        self.fields["family"].queryset = Family.objects.filter(binding=namespace.binding)  # type: ignore[attr-defined]
        self.fields["prefix"].widget.attrs |= {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}

    @property
    def chosen_prefix(self) -> str:
        """The prefix; empty without one, or while a filter is wrong."""
        return str(self.cleaned_data["prefix"]) if self.is_valid() else ""

    @property
    def chosen_family(self) -> Family | None:
        """The family; none without one, or while a filter is wrong."""
        family: Family | None = self.cleaned_data["family"] if self.is_valid() else None
        return family

    @property
    def scope(self) -> str:
        """The prefix that is looked at: the one that was asked for, or the chosen family's pattern."""
        return self.chosen_prefix or (self.chosen_family.pattern if self.chosen_family else "")

    def page(self, *, now: float, limit: int, after: str | None = None) -> browse.Found:
        """The keys the filters let through, on after the position; none while a filter is wrong."""
        if not self.is_valid():
            return browse.Found([], None)
        chosen = dict(self.cleaned_data)
        if after is not None:
            chosen["after"] = after
        return browse.keys(self.namespace, now=now, limit=limit, **chosen)
