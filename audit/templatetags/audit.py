"""The subjects of entries: their titles and addresses."""

from collections.abc import Mapping

from django import template

from audit.models import Entry
from audit.subjects import known

register = template.Library()


@register.filter
def subject_title(entry: Entry, titles: Mapping[str, str]) -> str:
    """The title of the subject in the reader's language where it is known, or else as it was recorded."""
    return titles.get(entry.subject) or entry.subject_label


@register.filter
def environment_name(environment: str, names: Mapping[str, str]) -> str:
    """The shown name of an environment. A former one is shown as entries spell it."""
    return names.get(environment, environment)


@register.filter
def subject_url(subject: str) -> str:
    """The address of a subject such as ``run:5``; empty for one without a page."""
    return known().address(subject)
