"""Old clinic records in KV: exported in bulk like any prefix, and their deletion prepared like any clean-up."""

from dataclasses import dataclass

from backups import catalogue
from backups.models import Generation
from kvops import inventory
from kvops.models import Namespace, Scan

BINDING = "SETTINGS"
PREFIX = "clinic:id:"


@dataclass(frozen=True)
class Clinics:
    """The records of one namespace: how many the newest scan found, and the newest copy of exactly them."""

    namespace: Namespace
    scan: Scan | None
    keys: int
    copy: Generation | None


def overview() -> list[Clinics]:
    """The records of each environment that has the binding, in order."""
    namespaces = Namespace.objects.filter(binding=BINDING).select_related("environment")
    return [_clinics(namespace) for namespace in namespaces.order_by("environment__order")]


def _clinics(namespace: Namespace) -> Clinics:
    rows = catalogue.coverage(namespace, [PREFIX])
    copies = Generation.objects.of_kv().whole().filter(namespace=namespace, prefixes=[PREFIX])
    return Clinics(
        namespace, inventory.newest(namespace), sum(row.keys for row in rows), copies.order_by("-pk").first()
    )
