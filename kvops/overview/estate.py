"""The environments with their namespaces and key counts, read from the answers. The scans did the counting."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from django.db.models import OuterRef, Subquery
from django.urls import reverse

from kvops.inventory.families import FamilyDefinition
from kvops.models import Category, Environment, Family, Namespace, Run, Scan, ScanCount
from kvops.web.gather import Gathered, Question, moment
from kvops.web.objects import Objects

FAMILY_FIELDS = tuple(FamilyDefinition.__dataclass_fields__)


def _places() -> Objects[Environment]:
    """The environments. A field that is not named here is read when it is asked for, so none is empty by mistake."""
    return Objects(Environment.objects.order_by("order"), "slug", "name", "order", "production")


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
    holdings: list[Holdings] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All keys of the environment."""
        return sum(held.total for held in self.holdings)


def questions() -> dict[str, Question]:
    """The environments, namespaces and families, the counts of the newest scans, and the scans under way."""
    complete = Scan.objects.complete().filter(namespace=OuterRef("pk")).order_by("-completed_at", "-pk")
    newest = {name: Subquery(complete.values(name)[:1]) for name in ("pk", "completed_at", "prefix")}
    namespaces = Namespace.objects.order_by("environment__order", "binding")
    named = namespaces.annotate(newest=newest["pk"], at=newest["completed_at"], only=newest["prefix"])
    counted = ScanCount.objects.filter(scan__in=named.order_by().values("newest"))
    return {
        "environments": _places().question,
        "namespaces": named.values_list("pk", "environment_id", "binding", "newest", "at", "only"),
        "families": Family.objects.order_by("binding", "pattern").values_list("pk", *FAMILY_FIELDS),
        "counts": counted.order_by("scan__completed_at", "scan", "family").values_list(
            "scan__namespace_id", "scan_id", "scan__completed_at", "category", "family_id", "keys",
            "without_expiration", "lacking",
        ),
        "scanning": Run.objects.open().filter(kind=Run.Kind.SCAN).values_list("pk", "subject"),
    }  # fmt: skip


class Estate:
    """The environments, namespaces and families, with the keys of each family at the newest scan and before."""

    def __init__(self, answers: Gathered) -> None:
        self._answers = answers
        self.families = [
            Family(pk=pk, **dict(zip(FAMILY_FIELDS, values, strict=True))) for pk, *values in answers["families"]
        ]
        self.environments = {one.pk: one for one in _places().of(answers, "environments")}

    @cached_property
    def columns(self) -> Sequence[Column]:
        """Every environment in the order of clean-up, with its namespaces."""
        found = {pk: Column(environment) for pk, environment in self.environments.items()}
        scanning = {subject: pk for pk, subject in self._answers["scanning"]}
        for pk, environment, binding, newest, at, prefix in self._answers["namespaces"]:
            namespace = Namespace(pk=pk, environment=self.environments[environment], binding=binding)
            families: dict[int | None, FamilyCount] = {}
            categories: dict[str, int] = defaultdict(int)
            for _namespace, scan, _at, category, family, keys, forever, lacking in self._answers["counts"]:
                if scan == newest:
                    earlier = families.get(family, FamilyCount(0, 0, 0))
                    families[family] = FamilyCount(
                        earlier.keys + keys, earlier.forever + (forever or 0), earlier.lacking + (lacking or 0)
                    )
                    categories[category] += keys
            shown = [(one.value, categories[one]) for one in Category if categories.get(one)]
            run = scanning.get(f"namespace:{pk}")
            found[environment].holdings.append(Holdings(namespace, moment(at), prefix or "", run, families, shown))
        return list(found.values())

    @property
    def holdings(self) -> Sequence[Holdings]:
        """Every namespace."""
        return [held for column in self.columns for held in column.holdings]
