"""What the pages say of copies and checks: what can be restored, what a new copy would take, what agrees with D1.

Reads only, and nothing here grows with the keys of a namespace or the entries of a copy.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, Subquery

from backups.datasets import registry as datasets
from backups.generations import encryption
from backups.models import Check, CleanupStage, Dataset, Generation, GenerationEntry, Restore
from backups.models.generations import GenerationQuerySet
from kvops import clock, timing
from kvops.inventory import families as categories
from kvops.models import Category, Database, Environment, Key, Namespace, ScanCount
from kvops.prefixes import distinct

CAP = 10_000
"""Keys under a prefix are counted up to here; those of a whole family were counted by the scan."""

SHOWN = 20


@dataclass(frozen=True)
class Covered:
    """Keys of one family under some prefixes; `more` when there are more than were counted.

    `secret` ones are only copied encrypted.
    """

    name: str
    category: Category
    keys: int
    more: bool
    secret: bool


@dataclass(frozen=True)
class Agreement:
    """The newest check of a dataset in one environment, and the newest copy that could be checked."""

    namespace: Namespace
    database: Database | None
    check: Check | None
    other_rules: bool
    copy: Generation | None


@dataclass(frozen=True)
class Checked:
    """A dataset with its newest checks."""

    dataset: Dataset
    agreements: Sequence[Agreement]

    @property
    def prefixes(self) -> Sequence[str]:
        """What the dataset is about."""
        return [self.dataset.prefix]

    @property
    def urgency(self) -> int:
        """Differences come first, then what was never checked."""
        checks = [agreement.check for agreement in self.agreements]
        if any(check and check.outcome == Check.Outcome.FAILED for check in checks):
            return 0
        return 1 if None in checks else 2


def stale_before() -> datetime:
    """A copy that was read back before this moment counts as out of date."""
    return clock.now() - timedelta(seconds=timing.VERIFIED_FRESH)


def _newest(found: GenerationQuerySet) -> list[Generation]:
    """The newest of each set of prefixes, newest first."""
    kind = ("namespace_id", "prefixes", "patterns", "purpose")
    newest = found.order_by(*kind, "-pk").distinct(*kind).values("pk")
    return list(Generation.objects.filter(pk__in=newest).order_by("-pk"))


def coverage(namespace: Namespace, prefixes: Collection[str]) -> list[Covered]:
    """What of the inventory is under the prefixes, family by family. Raises scope.BackupRefused."""
    wanted = distinct(prefixes)
    rows = (_covered(namespace, wanted, row) for row in categories.counts(namespace))
    return [row for row in rows if row and row.keys]


def _covered(namespace: Namespace, prefixes: Sequence[str], row: ScanCount) -> Covered | None:
    category = Category(row.category)
    family = row.family
    secret = encryption.needed(family)
    if "" in prefixes or (family and any(family.pattern.startswith(prefix) for prefix in prefixes)):
        return Covered(row.pattern, category, row.keys, more=False, secret=secret)
    within = [prefix for prefix in prefixes if not family or family.matches(prefix)]
    keys = Key.objects.filter(namespace=namespace, category=category, family=family)
    counts = [keys.under(prefix)[: CAP + 1].count() for prefix in within]
    more = any(n > CAP for n in counts)
    return Covered(row.pattern, category, sum(min(count, CAP) for count in counts), more=more, secret=secret)


def holding(namespace: Namespace, name: str) -> list[tuple[Generation, GenerationEntry]]:
    """The newest copies of a namespace that hold a value of the key, each with its entry."""
    kept = GenerationEntry.objects.filter(
        name=name, outcome=GenerationEntry.Outcome.KEPT, generation__namespace=namespace
    ).exclude(
        Q(generation__status__in=[Generation.Status.WRITING, *Generation.GOING])
        | Q(generation__purpose=Generation.Purpose.MASTERS)
    )
    entries = kept.select_related("generation").order_by("-generation_id")[:SHOWN]
    return [(entry.generation, entry) for entry in entries]


def relying_on(generation: Generation) -> Sequence[CleanupStage]:
    """The clean-up stages whose deletion this copy makes safe, newest first."""
    stages = CleanupStage.objects.filter(generation=generation).select_related("request", "environment")
    return list(stages.order_by("-pk")[:SHOWN])


def put_back_from(generation: Generation) -> Sequence[Restore]:
    """The restores and undos that take keys out of this copy, newest first."""
    found = generation.restores.naming().select_related("environment", "namespace")
    return list(found.order_by("-pk")[:SHOWN])


def agreements() -> list[Checked]:
    """Every dataset with its newest check per environment; those with differences first."""
    environments = Environment.objects.order_by("order")
    newest = {environment.pk: f"newest_{environment.pk}" for environment in environments}
    found = list(Dataset.objects.order_by("name").annotate(**{name: _newest_check(pk) for pk, name in newest.items()}))
    ids = {getattr(dataset, name) for dataset in found for name in newest.values()} - {None}
    checks = Check.objects.select_related("run").in_bulk(ids)
    copies = _newest(Generation.objects.of_kv().whole())
    databases = {(each.environment_id, each.binding): each for each in Database.objects.all()}
    namespaces = Namespace.objects.select_related("environment").order_by("environment__order")
    rows = []
    for dataset in found:
        digest = datasets.definition_digest(dataset)
        mine = []
        for namespace in namespaces:
            if namespace.binding != dataset.binding:
                continue
            check = checks.get(getattr(dataset, newest[namespace.environment_id]))
            mine.append(
                Agreement(
                    namespace,
                    databases.get((namespace.environment_id, dataset.database)),
                    check,
                    other_rules=bool(check and check.definition_digest != digest),
                    copy=next((each for each in copies if _compares(each, dataset, namespace)), None),
                )
            )
        rows.append(Checked(dataset, mine))
    return sorted(rows, key=lambda row: row.urgency)


def _newest_check(environment: int) -> Subquery:
    checks = Check.objects.filter(dataset=OuterRef("pk"), environment=environment)
    return Subquery(checks.order_by("-pk").values("pk")[:1])


def _compares(generation: Generation, dataset: Dataset, namespace: Namespace) -> bool:
    return generation.namespace_id == namespace.pk and generation.prefixes == [dataset.prefix]
