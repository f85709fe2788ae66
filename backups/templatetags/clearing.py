"""Keys of a cache that are chosen by what a listing shows, on the pages of other features: `{% load clearing %}`."""

from collections.abc import Mapping, Sequence

from django import template

from kvops.inventory.selection import Selection

register = template.Library()


@register.filter
def selection_words(only: Mapping[str, object]) -> Sequence[str]:
    """The conditions of a selection, as it is stored, in the reader's language."""
    return Selection.of(only).words
