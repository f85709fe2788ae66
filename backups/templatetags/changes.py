"""The parts of the pages of changes: `{% load changes %}`."""

from django import template
from django.template import Context
from django.utils.translation import gettext_lazy as _

from backups.changes import shown
from backups.changes.propose import WARNINGS
from backups.models import KeyChange

register = template.Library()

PARTS = {"value": _("value"), "metadata": _("metadata"), "expiration": _("expiration")}


@register.filter
def change_parts(parts: list[str]) -> list[object]:
    """The parts that change, in words."""
    return [PARTS.get(part, part) for part in parts]


@register.filter
def change_warning(code: str) -> object:
    """A warning in words."""
    return WARNINGS.get(code.removeprefix("change_"), code)


@register.inclusion_tag("changes/_differences.html", takes_context=True)
def proposal_differences(context: Context, pk: int) -> dict[str, object]:
    """The paths that change, for operators and reviewers, while the change is open."""
    change = KeyChange.objects.select_related("environment", "namespace__environment").filter(pk=pk).first()
    may = bool(context["request"].user.has_perm("kvops.view_values"))
    visible = change is not None and change.is_open and bool(change.object_sha256)
    return {
        "change": change,
        "may_view": may,
        "visible": visible,
        "found": shown.differences_of(change) if may and visible and change else None,
    }
