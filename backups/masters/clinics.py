"""Clinic records in KV: exported in bulk like any prefix, and their deletion prepared like any clean-up."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from audit import log
from backups.generations import contents as generation_contents, start as generation_start
from backups.models import Generation
from kvops.models import Environment, Namespace, Scan, ScanCount
from kvops.schedules.jobs import Begun

BINDING = "SETTINGS"
PREFIX = "clinic:id:"


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
    """The clinic records of each environment that has the binding, in order."""
    scans = Scan.objects.complete().filter(namespace=OuterRef("pk")).order_by("-completed_at", "-pk")
    backups = Generation.objects.of_kv().whole().filter(namespace=OuterRef("pk"), prefixes=[PREFIX])
    found = Namespace.objects.filter(binding=BINDING).annotate(
        counted=Subquery(scans.values("pk")[:1]),
        listed=Subquery(scans.covering(PREFIX).values("pk")[:1]),
        kept=Subquery(backups.order_by("-pk").values("pk")[:1]),
    )
    namespaces = list(found.select_related("environment").order_by("environment__order"))
    rows = ScanCount.objects.filter(scan__in=[one.counted for one in namespaces]).select_related("family")
    counts = list(rows.order_by("category", "pattern"))
    listed = Scan.objects.in_bulk([one.listed for one in namespaces])
    kept = Generation.objects.in_bulk([one.kept for one in namespaces])
    return [
        Clinics(
            one,
            listed.get(one.listed),
            _keys(one, [each for each in counts if each.scan_id == one.counted]),
            kept.get(one.kept),
        )
        for one in namespaces
    ]


def _keys(namespace: Namespace, counts: Sequence[ScanCount]) -> int:
    return sum(row.keys for row in generation_contents.coverage(namespace, [PREFIX], counts))
