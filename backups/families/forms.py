"""The form that registers a family."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.inventory.forms import bindings, categories
from kvops.inventory.registration import faults
from kvops.web.fields import NameField

DESIGNS = [
    ("ttl", _("Each key expires after a time")),
    ("regenerate", _("Written again when it is missing")),
    ("none", _("Never expires")),
]
LONGEST_TTL = 9_999_999_999
"""Seconds. The policy file has the same limit."""


class FamilyForm(forms.Form):
    """A family, and the answers of its design review."""

    feature = forms.CharField(
        label=_("Feature"), max_length=200, help_text=_("The part of the application that uses these keys.")
    )
    binding = forms.ChoiceField(label=_("Binding"))
    pattern = NameField(
        label=_("Pattern"),
        example="session:",
        help_text=_("The beginning of the key names, without a star. For one key, its whole name."),
    )
    exact = forms.BooleanField(label=_("Exactly this key, not a prefix"), required=False)
    category = forms.ChoiceField(label=_("Category"))
    owner = forms.CharField(
        label=_("Owner"),
        max_length=100,
        help_text=_("KVOps tells the person with this mail address or name about this family. It cannot tell a team."),
    )
    design = forms.ChoiceField(label=_("Expiry design"), choices=DESIGNS)
    seconds = forms.IntegerField(
        label=_("Seconds until a key expires"),
        required=False,
        min_value=60,
        max_value=LONGEST_TTL,
        help_text=_("3600 is an hour, 86400 a day."),
    )
    sample_key = NameField(label=_("Sample key"), example="session:5f1c9a0b7e")
    shape = forms.CharField(
        label=_("Shape of the value"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": '{"user": number, "since": date}'}),
        help_text=_("Members and their types. Never write a real value here."),
    )
    review = forms.CharField(
        label=_("Address of the design review"),
        max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://"}),
    )
    note = forms.CharField(
        label=_("Note"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("For settings that never expire: the reason."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["binding"].choices = bindings()  # type: ignore[attr-defined]
        self.fields["category"].choices = categories()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Refuse what the registration refuses, each at its field."""
        chosen: dict[str, Any] = self.cleaned_data
        if chosen.get("design") == "ttl" and not chosen.get("seconds") and "seconds" not in self.errors:
            self.add_error("seconds", _("Give the seconds after which a key expires."))
        if not self.errors:
            for field, sentence in faults(self.registration()):
                self.add_error("design" if field == "expiry" else field, str(sentence))
        return chosen

    def registration(self) -> dict[str, Any]:
        """The registration as plain data."""
        chosen = dict(self.cleaned_data)
        design, seconds = chosen.pop("design"), chosen.pop("seconds")
        return {**chosen, "expiry": f"ttl:{seconds}" if design == "ttl" else design}


def initial(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of the form for a registration as plain data."""
    design, _colon, seconds = str(data["expiry"]).partition(":")
    return {**data, "design": design, "seconds": seconds or None}
