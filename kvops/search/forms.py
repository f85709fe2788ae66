"""The search as it stands in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.search.matching import SearchText, read


class SearchForm(forms.Form):
    """One text. A text that cannot be searched for finds nothing."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=512,
        strip=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )

    def wanted(self) -> SearchText:
        """The text to search for; empty if it is not valid."""
        return read(self.cleaned_data["q"]) if self.is_valid() else read("")
