"""Addresses with a key name or a pattern in them, for the pages of families: `{% load families %}`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from django import template
from django.urls import reverse

from kvops.inventory.differences import FieldInWords, words
from kvops.names import typeable

register = template.Library()


@register.simple_tag
def proposal_url(binding: str, pattern: str, category: str, sample: str = "", exact: bool = False) -> str:
    """The form that registers a family, filled with a proposal."""
    fields = {"binding": binding, "pattern": typeable(pattern), "category": category, "sample_key": typeable(sample)}
    filled = {name: value for name, value in fields.items() if value}
    return _address(reverse("backups:family_new"), {**filled, **({"exact": "on"} if exact else {})})


@register.simple_tag
def unclassified_url(environment: str, binding: str, prefix: str) -> str:
    """The list of unclassified keys that begin so."""
    fields = {"category": "unclassified", **({"prefix": typeable(prefix)} if prefix else {})}
    return _address(reverse("keys", args=[environment, binding]), fields)


@register.simple_tag
def taken_url(environment: str, binding: str, pattern: str, parent: int | None, live: bool) -> str:
    """The list of the keys that a prefix takes from its parent, or of all under it once it has them."""
    fields: dict[str, str] = {"prefix": typeable(pattern)}
    if live:
        fields |= {"family": str(parent)} if parent else {"category": "unclassified"}
    return _address(reverse("keys", args=[environment, binding]), fields)


@register.simple_tag
def rule_changes(effect: Mapping[str, Any]) -> list[FieldInWords]:
    """The rules that differ from those of the family that the keys come from. An older effect names none."""
    fields = effect.get("changes", {})
    return words({"thing": "family", "name": "", "how": "changed", "fields": fields}).fields


def _address(page: str, fields: dict[str, str]) -> str:
    return f"{page}?{urlencode(fields, quote_via=quote, safe='')}"
