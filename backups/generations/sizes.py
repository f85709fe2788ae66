"""The sizes of values in backups, for the list of keys, which asks by name."""

from collections.abc import Sequence

from backups.models import Generation, GenerationEntry
from kvops.models import Namespace

NEWEST = 20
"""Backups. A value is looked for in this many, so that a page costs the same with many backups."""


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
