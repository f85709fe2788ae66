"""The offer to restore keys that a scan found gone without an explanation, from a verified backup that has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count

from backups.models import Generation, GenerationEntry
from kvops.models import Scan
from kvops.names import typeable

MOST = 1_000
"""Keys. Of more, a person chooses on the page of a backup."""


@dataclass(frozen=True)
class RestoreOffer:
    """The backup that has the most of the keys, the newest of several, and the names that it has.

    Of more than `MOST` keys it is the newest verified backup, without names.
    """

    generation: Generation
    names: Sequence[str]

    @property
    def typed(self) -> str:
        """The names as the form of a restore takes them."""
        return "\n".join(map(typeable, self.names))


def offer_of(scan: Scan) -> RestoreOffer | None:
    """The offer for the unexplained deletions of a scan; None if no verified backup has any."""
    names = list(scan.unexplained_deletions.values_list("name", flat=True)[: MOST + 1]) if scan.unexplained else []
    if not names:
        return None
    backups = Generation.objects.of_kv().verified().here().filter(namespace=scan.namespace_id)
    if len(names) > MOST:
        newest = backups.order_by("-pk").first()
        return RestoreOffer(newest, []) if newest else None
    held = GenerationEntry.objects.filter(
        name__in=names, outcome=GenerationEntry.Outcome.KEPT, generation__in=backups.values("pk")
    )
    most = held.order_by().values("generation").annotate(found=Count("pk")).order_by("-found", "-generation").first()
    if most is None:
        return None
    mine = held.filter(generation=most["generation"]).order_by("name").values_list("name", flat=True)
    return RestoreOffer(Generation.objects.get(pk=most["generation"]), list(mine))
