"""One key in all environments: there or not by the newest scan that covers it, with its expiration and category."""

from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from kvops.models import Key, Namespace, Scan


@dataclass(frozen=True)
class KeySide:
    """A key in one namespace; `scan` is the newest that covers its name, None without one."""

    namespace: Namespace
    key: Key | None
    scan: Scan | None


def sides_of(namespace: Namespace, name: str) -> tuple[KeySide, list[KeySide]]:
    """The key in this namespace, and in those of the same binding in the other environments."""
    covering = Scan.objects.complete().covering(name).filter(namespace=OuterRef("pk"))
    newest = covering.order_by("-completed_at", "-pk").values("pk")[:1]
    found = Namespace.objects.filter(binding=namespace.binding).annotate(scan=Subquery(newest))
    namespaces = list(found.select_related("environment").order_by("environment__order"))
    scans = Scan.objects.in_bulk([one.scan for one in namespaces if one.scan])
    rows = Key.objects.filter(namespace__in=namespaces, name=name).select_related("first_seen")
    keys = {key.namespace_id: key for key in rows}
    sides = [KeySide(one, keys.get(one.pk), scans.get(one.scan)) for one in namespaces]
    return (
        next(side for side in sides if side.namespace == namespace),
        [side for side in sides if side.namespace != namespace],
    )
