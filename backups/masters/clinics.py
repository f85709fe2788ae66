"""Clinic records in KV: exported in bulk like any prefix, and their deletion prepared like any clean-up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from audit import log
from backups.generations import contents as generation_contents, start as generation_start
from backups.models import Generation
from kvops.inventory.families import FamilyDefinition
from kvops.models import Environment, Namespace, Scan, ScanCount
from kvops.schedules.jobs import Begun
from kvops.web.gather import ask
from kvops.web.objects import Objects

BINDING = "SETTINGS"
PREFIX = "clinic:id:"
_COUNT = (
    *("scan_id", "category", "pattern", "keys"),
    *(f"family__{name}" for name in FamilyDefinition.__dataclass_fields__),
)


@dataclass(frozen=True)
class Clinics:
    """The clinic records of one namespace: their number at the newest scan, and the newest backup of exactly them."""

    namespace: Namespace
    scan: Scan | None
    keys: int
    backup: Generation | None


def scheduled(environment: Environment, actor: log.Actor) -> Begun:
    """The job of a schedule: back up the environment's clinic records if the newest scan found any."""
    found = [each for each in overview() if each.namespace.environment == environment and each.keys]
    begun = Begun()
    for each in found:
        with begun.or_refused():
            begun.runs.append(generation_start.create_backup(each.namespace, prefixes=[PREFIX], actor=actor).run)
    return begun


def overview() -> list[Clinics]:
    """The clinic records of each environment that has the binding, in order; in two queries."""
    scans = Scan.objects.complete().filter(namespace=OuterRef("pk")).order_by("-completed_at", "-pk")
    backups = Generation.objects.of_kv().whole().filter(namespace=OuterRef("pk"), prefixes=[PREFIX])
    newest = {"counted": scans, "listed": scans.covering(PREFIX), "kept": backups.order_by("-pk")}
    found = Namespace.objects.filter(binding=BINDING).select_related("environment")
    found = found.annotate(**{name: Subquery(rows.values("pk")[:1]) for name, rows in newest.items()})
    namespaces = list(found.order_by("environment__order"))
    keys = {name: [vars(one)[name] for one in namespaces if vars(one)[name]] for name in newest}
    counts = ScanCount.objects.filter(scan__in=keys["counted"]).order_by("category", "pattern")
    asked: dict[str, Objects[Any]] = {
        "counted": Objects(counts, *_COUNT),
        "listed": Objects(Scan.objects.filter(pk__in=keys["listed"]), "completed_at"),
        "kept": Objects(Generation.objects.filter(pk__in=keys["kept"]), "started_at", "status", "actor"),
    }
    answers = ask({name: one.question for name, one in asked.items()}, {})
    read: dict[str, list[Any]] = {name: one.of(answers, name) for name, one in asked.items()}
    listed, kept = ({one.pk: one for one in read[name]} for name in ("listed", "kept"))
    return [
        _clinics(one, read["counted"], listed.get(vars(one)["listed"]), kept.get(vars(one)["kept"]))
        for one in namespaces
    ]


def _clinics(
    namespace: Namespace, counts: Iterable[ScanCount], scan: Scan | None, backup: Generation | None
) -> Clinics:
    mine = [one for one in counts if one.scan_id == vars(namespace)["counted"]]
    covered = generation_contents.coverage(namespace, [PREFIX], mine)
    return Clinics(namespace, scan, sum(row.keys for row in covered), backup)
