"""The forms beside the list of keys: ticked keys, and the filters of the comparison."""

from urllib.parse import urlencode

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from kvops.inventory.forms import KeyFilter
from kvops.inventory.key_list.actions import KeyAction
from kvops.inventory.key_list.side_by_side import PairKind
from kvops.models import Namespace
from kvops.names import storable
from kvops.web.fields import NameField

TICKED = 50
"""Keys. A page has no more boxes to tick."""


class TickedForm(forms.Form):
    """The page that the ticked keys go to."""

    do = forms.TypedChoiceField(choices=KeyAction.choices, coerce=KeyAction)


def filters_of(namespace: Namespace, query: str) -> str:
    """The filters of an address without its page of the list; empty if none is set, or if one is invalid."""
    form = KeyFilter(namespace, {**QueryDict(query).dict(), "after": ""})
    if not form.is_valid():
        return ""
    kept = {name: form.data.get(name, "") for name in form.fields}
    return urlencode({name: value for name, value in kept.items() if value})


def ticked_names(names: list[str]) -> list[str]:
    """The ticked names that a key can have, each once."""
    return list(dict.fromkeys(name for name in names[:TICKED] if storable(name)))


class PairFilter(forms.Form):
    """The filters of the comparison of two environments."""

    prefix = NameField(label=_("Name begins with"), required=False)  # type: ignore[assignment]  # not the form's own
    show = forms.TypedChoiceField(
        required=False, choices=[("", ""), *PairKind.choices], coerce=PairKind, empty_value=None,
        widget=forms.HiddenInput,
    )  # fmt: skip
    after = forms.CharField(required=False, strip=False, max_length=512, widget=forms.HiddenInput)
