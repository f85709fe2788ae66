"""The parts of the pages of changes: `{% load changes %}`."""

from django import template
from django.template import Context
from django.utils.translation import gettext_lazy as _

from backups.changes import shown
from backups.models import KeyChange

register = template.Library()

PARTS = {"value": _("value"), "metadata": _("metadata"), "expiration": _("expiration")}
WARNINGS = {
    "change_no_json": _("The old value is JSON, and the new one is not."),
    "change_empty": _("The new value is empty."),
    "change_expires": _("The key gets an expiration: KV deletes it at that time."),
}


@register.filter
def change_parts(parts: list[str]) -> list[object]:
    """The parts that change, in words."""
    return [PARTS.get(part, part) for part in parts]


@register.filter
def change_warning(code: str) -> object:
    """A warning in words."""
    return WARNINGS.get(code, code)


@register.inclusion_tag("changes/_differences.html", takes_context=True)
def proposal_differences(context: Context, pk: int) -> dict[str, object]:
    """The paths that change, for operators and reviewers, while the change is open."""
    change = KeyChange.objects.select_related("environment", "namespace__environment").filter(pk=pk).first()
    may = bool(context["request"].user.has_perm("kvops.view_values"))
    visible = change is not None and change.is_open and bool(change.object_key)
    return {
        "change": change,
        "may_view": may,
        "visible": visible,
        "found": shown.differences_of(change) if may and visible and change else None,
    }
