"""The facts of a key for its page: by the newest scan that covers it, with its family."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvops.inventory.families import Families
from kvops.models import Family, Key, Namespace, Scan


@dataclass(frozen=True)
class KeyFacts:
    """The key if the inventory has it, the newest scan that covers its name, its family, and the other namespaces.

    `others` are the namespaces of the same binding in the other environments.
    """

    key: Key | None
    scan: Scan | None
    family: Family | None
    others: Sequence[Namespace]


def facts_of(namespace: Namespace, name: str) -> KeyFacts:
    """The facts of a key for its page."""
    same = Namespace.objects.filter(binding=namespace.binding).exclude(pk=namespace.pk)
    covering = Scan.objects.complete().covering(name).filter(namespace=namespace)
    return KeyFacts(
        key=namespace.key_set.filter(name=name).select_related("first_seen").first(),
        scan=covering.order_by("-completed_at", "-pk").first(),
        family=Families.of(namespace.binding).family(name),
        others=list(same.select_related("environment").order_by("environment__order")),
    )
