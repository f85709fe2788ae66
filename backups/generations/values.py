"""The value of one entry of a backup, for a person who asks for it, and the sizes of values for the list of keys.

The request for a value is recorded first. Values are stored nowhere. Values of encrypted backups cannot be shown,
because the web server has no identity. The list of keys asks for the sizes by the name of the function.
"""

from collections.abc import Sequence

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.generations import start as generation_start
from backups.models import Generation, GenerationEntry
from kvops.cloudflare import KvEntry
from kvops.inventory import value as key_value
from kvops.models import Namespace, Person
from kvops.refusals import Refused

AT_ONCE = 3
"""Values on one page: those that a reviewer looks at before a decision."""
NEWEST = 20
"""Backups. A value is looked for in this many, so that a page costs the same with many backups."""
ENCRYPTED = _(
    "This backup is encrypted, and the web server cannot decrypt it. To see a value, follow the recovery steps."
)


class ValueHidden(Refused):
    """The key is masked now, or the backup has no value of it."""


def view_entry(generation: Generation, name: str, *, by: Person) -> KvEntry:
    """The entry in the backup. Raises ValueHidden, archive.Damaged and StoreError."""
    if generation.encrypted:
        raise ValueHidden(ENCRYPTED)
    if key_value.category_of(generation.namespace, name).sensitive:
        raise ValueHidden(_("This key is settings or unclassified now: its value is not shown."))
    record_view(generation, name, by, {})
    entry = generation_start.read_entry(generation, name)
    if entry is None:
        raise ValueHidden(_("The backup has no value for this key."))
    return entry


def record_view(generation: Generation, name: str, by: Person, details: dict[str, JSON]) -> None:
    """Record that a person looks at a value. If this raises, the value is not shown."""
    with log.transaction():
        log.record(
            Action.VALUE_VIEWED,
            actor=by.actor,
            **generation.audited,
            details={"namespace": str(generation.namespace), "key": name, **details},
        )


def sizes_of(namespace: Namespace, names: Sequence[str]) -> dict[str, int]:
    """The size of each value in the newest of the namespace's newest 20 backups that holds it.

    A value that is kept encrypted only has none: its size would be a fact about a secret.
    """
    newest = (
        Generation.objects.filter(namespace=namespace, recipients=[])
        .exclude(status__in=[Generation.Status.WRITING, *Generation.GOING])
        .exclude(purpose=Generation.Purpose.MASTERS)
        .order_by("-pk")
        .values("pk")[:NEWEST]
    )
    kept = GenerationEntry.objects.filter(
        generation__in=newest, name__in=names, outcome=GenerationEntry.Outcome.KEPT, size__isnull=False
    )
    rows = kept.order_by("generation_id").values_list("name", "size")
    return {name: size for name, size in rows if size is not None}
