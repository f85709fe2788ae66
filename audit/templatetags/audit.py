"""Links from entries to their subjects."""

from django import template

from audit.subjects import known

register = template.Library()


@register.filter
def subject_url(subject: str) -> str:
    """The address of a subject such as ``run:5``; empty for one without a page."""
    return known().address(subject)
