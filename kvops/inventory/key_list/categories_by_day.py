"""The keys of each environment at the end of each day, by category. The scans did the counting."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from django.db.models import OuterRef, Subquery, Sum
from django.utils import timezone

from kvops.models import Category, Environment, Namespace, Scan, ScanCount
from kvops.web.ranges import DaySeries, Period, carried, summed


@dataclass(frozen=True)
class EnvironmentKeys:
    """An environment with a series of its keys for each category. All environments have the same categories."""

    environment: Environment
    series: list[DaySeries]


def by_category(period: Period) -> list[EnvironmentKeys]:
    """Every scanned environment; a day without a scan has the counts of the scan before it, also of an older one."""
    complete = Scan.objects.complete()
    daily = Scan.objects.last_of_each_day(period.since).values_list("pk", flat=True)
    earlier = complete.filter(namespace=OuterRef("pk"), completed_at__lt=period.start).order_by("-completed_at", "-pk")
    before = Namespace.objects.values(last=Subquery(earlier.values("pk")[:1]))
    ids = {*daily, *(row["last"] for row in before)} - {None}
    scans = complete.filter(pk__in=ids).values_list("pk", "namespace__pk", "namespace__environment__pk", "completed_at")
    environments = {one.pk: one for one in Environment.objects.all()}
    counted = ScanCount.objects.filter(scan__in=ids).values_list("scan", "category").annotate(Sum("keys"))
    counts = {(scan, category): keys for scan, category, keys in counted}
    found: dict[Environment, dict[int, dict[date, int]]] = defaultdict(lambda: defaultdict(dict))
    for scan, namespace, place, at in scans:
        assert at is not None  # noqa: S101  (for the type checker)
        found[environments[place]][namespace][timezone.localdate(at)] = scan
    used = [category for category in Category if any(of == category and keys for (_scan, of), keys in counts.items())]
    shown = []
    for environment in sorted(found, key=lambda one: one.order):
        held = [carried(period, days) for days in found[environment].values()]
        series = [
            DaySeries(each.label, summed(_of(each, scans_by_day, counts) for scans_by_day in held)) for each in used
        ]
        shown.append(EnvironmentKeys(environment, series))
    return shown


def _of(category: Category, scans: dict[date, int], counts: dict[tuple[int, str], int]) -> dict[date, int]:
    return {day: counts.get((scan, category), 0) for day, scan in scans.items()}
