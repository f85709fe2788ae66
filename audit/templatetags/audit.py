"""Links from entries to their subjects."""

from django import template
from django.conf import settings
from django.urls import NoReverseMatch, reverse

register = template.Library()


@register.filter
def subject_url(subject: str) -> str:
    """The address of a subject such as ``run:5``, by ``AUDIT_SUBJECT_URLS`` (kind to URL name).

    Empty for a kind without a page.
    """
    kind, _, key = subject.partition(":")
    name = getattr(settings, "AUDIT_SUBJECT_URLS", {}).get(kind)
    if name is None:
        return ""
    try:
        return reverse(name, args=[key])
    except NoReverseMatch:
        # Entries are kept for ever, addresses may change: an old subject must not break the page.
        return ""
