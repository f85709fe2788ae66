"""A value out of a copy, for a person who asks for it. It is recorded first and stored nowhere."""

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import generations
from backups.models import Generation
from kvops import approvals, values
from kvops.cloudflare import Entry
from kvops.models import Person


class ValueHidden(Exception):
    """The key is masked now, or the copy does not hold it."""


def view_entry(generation: Generation, name: str, *, by: Person) -> Entry:
    """The entry as the copy holds it. Raises ValueHidden, manifest.Damaged and StoreError."""
    if values.category_of(generation.namespace, name).sensitive:
        raise ValueHidden(_("This key is settings or unclassified now: its value is not shown."))
    with log.transaction():
        log.record(
            Action.VALUE_VIEWED,
            actor=approvals.actor_of(by),
            environment=generation.environment.slug,
            subject=f"generation:{generation.pk}",
            subject_label=generation.stem[:200],
            details={"namespace": str(generation.namespace), "key": name},
        )
    entry = generations.read_entry(generation, name)
    if entry is None:
        raise ValueHidden(_("The copy holds no value of this key."))
    return entry
