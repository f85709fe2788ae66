"""The encrypted place of a plain file."""

from django import forms
from django.utils.translation import gettext_lazy as _


class PlaceForm(forms.Form):
    """The place where a plain file is kept encrypted."""

    kept_at = forms.CharField(label=_("Kept encrypted at"), max_length=300)
