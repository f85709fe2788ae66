"""Backups in 1Password on other pages: `{% load vault %}`."""

from django import template
from django.utils.translation import gettext as _

from backups.exports import onepassword_store
from backups.models import Generation, VaultDocument
from backups.vault import standing, start as vault_start

register = template.Library()


@register.inclusion_tag("vault/_card.html", takes_context=True)
def vault_card(context: template.Context, generation: Generation, in_vault: bool) -> dict[str, object]:
    """The Documents of a settings backup in 1Password, and the button that keeps it there; nothing for any other.

    `in_vault` tells whether it has any Document.
    """
    related = VaultDocument.objects.filter(generation=generation).select_related("run", "supersedes")
    found = list(related.prefetch_related("superseded_by").order_by("-pk")) if in_vault else []
    may_operate = context["may_operate"]
    offered = vault_start.is_offered(generation)
    kept = any(one.vault == generation.environment.vault and one.state == one.State.KEPT for one in found)
    why_not = vault_start.why_not(generation) if offered and not kept else ""
    return {
        "generation": generation,
        "shown": offered or found,
        "offered": offered and not kept,
        "documents": [(one, next(iter(one.superseded_by.all()), None)) for one in found],
        "late": _late(generation) if offered and not kept else False,
        "why_not": why_not if may_operate else _("Only an operator can start it."),
        "limit": onepassword_store.LIMIT,
        "csrf_token": context.get("csrf_token"),
    }


def _late(generation: Generation) -> bool:
    """Whether the schedule should have kept this backup by now."""
    lines = standing.lines(generation.environment)
    return any(generation in line.waiting and line.place == standing.Place.LATE for line in lines)
