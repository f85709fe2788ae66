"""The environments with their namespaces and key counts. The scans did the counting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import Prefetch
from django.urls import reverse

from kvops import clock
from kvops.models import Category, Environment, Family, Namespace, Run, Scan, ScanCount


@dataclass(frozen=True)
class FamilyCount:
    """The keys of a family, or of none, at one scan: all, those that never expire, and those that lack an expiry."""

    keys: int
    forever: int
    lacking: int


@dataclass(frozen=True)
class Holdings:
    """A namespace with the counts of its newest scan."""

    namespace: Namespace
    scanned_at: datetime | None
    prefix: str
    scanning: int | None
    families: Mapping[int | None, FamilyCount]
    categories: Sequence[tuple[str, int]]

    @property
    def total(self) -> int:
        """All keys."""
        return sum(keys for _category, keys in self.categories)

    @property
    def unclassified(self) -> int:
        """The keys without a family."""
        return dict(self.categories).get(Category.UNCLASSIFIED, 0)

    @property
    def keys_url(self) -> str:
        """The page of the keys."""
        return reverse("keys", args=[self.namespace.environment.slug, self.namespace.binding])

    @property
    def scan_url(self) -> str:
        """The address that starts a scan."""
        return reverse("scan", args=[self.namespace.environment.slug, self.namespace.binding])

    def count(self, family: Family | None) -> FamilyCount | None:
        """The counts of a family at the newest scan, or of the keys without one; None before the first scan."""
        if self.scanned_at is None:
            return None
        return self.families.get(family.pk if family else None, FamilyCount(0, 0, 0))


@dataclass(frozen=True)
class Column:
    """An environment and its namespaces."""

    environment: Environment
    holdings: Sequence[Holdings]

    @property
    def total(self) -> int:
        """All keys of the environment."""
        return sum(held.total for held in self.holdings)


class Estate:
    """The environments, namespaces and families, with the keys of each family at the newest scan. Each is read once."""

    @cached_property
    def now(self) -> datetime:
        """The moment of the page, by the database's clock."""
        return clock.now()

    @cached_property
    def families(self) -> Sequence[Family]:
        """The families of the policy."""
        return list(Family.objects.order_by("binding", "pattern"))

    @cached_property
    def environments(self) -> Mapping[int, Environment]:
        """The environments in the order of clean-up, with their namespaces."""
        namespaces = Prefetch("namespaces", Namespace.objects.order_by("binding"))
        return {one.pk: one for one in Environment.objects.order_by("order").prefetch_related(namespaces)}

    @cached_property
    def columns(self) -> Sequence[Column]:
        """Every environment with its namespaces."""
        scans = {scan.namespace_id: scan for scan in Scan.objects.newest_of_each()}
        counts = defaultdict(list)
        for count in ScanCount.objects.filter(scan__in=scans.values()).order_by("family"):
            counts[count.scan_id].append(count)
        scanning = dict(Run.objects.open().filter(kind=Run.Kind.SCAN).values_list("subject", "pk"))
        found = []
        for environment in self.environments.values():
            holdings = []
            for namespace in environment.namespaces.all():
                scan, run = scans.get(namespace.pk), scanning.get(f"namespace:{namespace.pk}")
                holdings.append(_holdings(namespace, scan, counts[scan.pk] if scan else [], run))
            found.append(Column(environment, holdings))
        return found

    @property
    def holdings(self) -> Sequence[Holdings]:
        """Every namespace."""
        return [held for column in self.columns for held in column.holdings]


def _holdings(namespace: Namespace, scan: Scan | None, counts: Sequence[ScanCount], scanning: int | None) -> Holdings:
    families: dict[int | None, FamilyCount] = {}
    categories: dict[str, int] = defaultdict(int)
    for count in counts:
        earlier = families.get(count.family_id, FamilyCount(0, 0, 0))
        families[count.family_id] = FamilyCount(
            earlier.keys + count.keys,
            earlier.forever + (count.without_expiration or 0),
            earlier.lacking + (count.lacking or 0),
        )
        categories[count.category] += count.keys
    shown = [(one.value, categories[one]) for one in Category if categories.get(one)]
    at, prefix = (scan.completed_at, scan.prefix) if scan else (None, "")
    return Holdings(namespace, at, prefix, scanning, families, shown)
