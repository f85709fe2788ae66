"""One key in all environments: there or not by the newest scan that covers it, with its expiration and category."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from kvops.inventory.families import Families, FamilyDefinition
from kvops.inventory.story import KeyEvent
from kvops.models import Family, Key, Namespace, Scan
from kvops.web.gather import ask
from kvops.web.objects import Objects

_NAMESPACE = ("binding", "scan", "environment__slug", "environment__name", "environment__production")
_KEY = ("namespace_id", "expiration", "metadata", "category", "first_seen__completed_at")


@dataclass(frozen=True)
class KeySide:
    """A key in one namespace; `scan` is the newest that covers its name, None without one.

    `fate` is the last thing that happened to a key that is not there, if a page asked for it.
    """

    namespace: Namespace
    key: Key | None
    scan: Scan | None
    fate: KeyEvent | None = None


@dataclass(frozen=True)
class KeyFacts:
    """The key in its namespace, in those of the same binding in the other environments, and its family."""

    here: KeySide
    twins: Sequence[KeySide]
    family: Family | None


def facts_of(namespace: Namespace, name: str) -> KeyFacts:
    """The facts of a key for its page, in one query."""
    covering = Scan.objects.complete().covering(name).filter(namespace=OuterRef("pk"))
    newest = Subquery(covering.order_by("-completed_at", "-pk").values("pk")[:1])
    sides = Namespace.objects.filter(binding=namespace.binding).annotate(scan=newest)
    rows = Key.objects.filter(namespace__binding=namespace.binding, name=name)
    asked: dict[str, Objects[Any]] = {
        "namespaces": Objects(sides.order_by("environment__order"), *_NAMESPACE),
        "scans": Objects(Scan.objects.filter(pk__in=sides.values("scan")), "created_at", "completed_at"),
        "keys": Objects(rows, *_KEY),
        "families": Objects(Family.objects.filter(binding=namespace.binding), *FamilyDefinition.__dataclass_fields__),
    }
    answers = ask({question: one.question for question, one in asked.items()}, {})
    found: dict[str, list[Any]] = {question: one.of(answers, question) for question, one in asked.items()}
    scans, keys = {scan.pk: scan for scan in found["scans"]}, {key.namespace_id: key for key in found["keys"]}
    all_sides = [KeySide(one, keys.get(one.pk), scans.get(one.scan)) for one in found["namespaces"]]
    return KeyFacts(
        here=next(side for side in all_sides if side.namespace == namespace),
        twins=[side for side in all_sides if side.namespace != namespace],
        family=Families(found["families"]).family(name),
    )
