"""The procedure of an operation on its page: `{% load runbook %}`."""

from django import template

from kvops.runbook import entries as runbook_entries

register = template.Library()


@register.inclusion_tag("runbook/_procedure.html")
def procedure_of(subject: str) -> dict[str, object]:
    """The steps of the operation that a subject such as `cleanup:5` belongs to, ticked by what happened."""
    entry = runbook_entries.of_subject(subject, named=False)
    return {"entry": entry, "procedure": entry.procedure if entry else None, "steps": entry.steps() if entry else []}
