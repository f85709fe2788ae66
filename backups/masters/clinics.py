"""Clinic records in KV: exported in bulk like any prefix, and their deletion prepared like any clean-up."""

from dataclasses import dataclass

from audit import log
from backups.generations import contents as generation_contents, start as generation_start
from backups.models import Generation
from kvops.models import Environment, Namespace, Scan
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
    namespaces = Namespace.objects.filter(binding=BINDING).select_related("environment")
    return [_clinics(namespace) for namespace in namespaces.order_by("environment__order")]


def _clinics(namespace: Namespace) -> Clinics:
    rows = generation_contents.coverage(namespace, [PREFIX])
    backups = Generation.objects.of_kv().whole().filter(namespace=namespace, prefixes=[PREFIX])
    return Clinics(
        namespace,
        Scan.objects.covering(PREFIX).newest(namespace),
        sum(row.keys for row in rows),
        backups.order_by("-pk").first(),
    )
