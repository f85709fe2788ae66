"""Which backups agree with D1, for the pages that show it."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from backups.datasets import registry as dataset_registry
from backups.generations.contents import newest
from backups.models import Check, Dataset, Generation
from kvops.models import Database, Environment, Namespace


@dataclass(frozen=True)
class Agreement:
    """The newest check of a dataset in one environment, and the newest backup that can be checked."""

    namespace: Namespace
    database: Database | None
    check: Check | None
    other_rules: bool
    backup: Generation | None


@dataclass(frozen=True)
class Checked:
    """A dataset with its newest checks."""

    dataset: Dataset
    agreements: Sequence[Agreement]

    @property
    def prefixes(self) -> Sequence[str]:
        """The prefixes of the dataset's keys."""
        return [self.dataset.prefix]

    @property
    def urgency(self) -> int:
        """The order on the page: differences first, then datasets without a check."""
        checks = [agreement.check for agreement in self.agreements]
        if any(check and check.outcome == Check.Outcome.FAILED for check in checks):
            return 0
        return 1 if None in checks else 2


def agreements() -> list[Checked]:
    """Every dataset with its newest check per environment; datasets with differences come first."""
    environments = Environment.objects.order_by("order")
    columns = {environment.pk: f"newest_{environment.pk}" for environment in environments}
    found = list(Dataset.objects.order_by("name").annotate(**{name: _newest_check(pk) for pk, name in columns.items()}))
    ids = {getattr(dataset, name) for dataset in found for name in columns.values()} - {None}
    checks = Check.objects.select_related("run").in_bulk(ids)
    backups = newest(Generation.objects.of_kv().whole())
    databases = {(each.environment_id, each.binding): each for each in Database.objects.all()}
    namespaces = Namespace.objects.select_related("environment").order_by("environment__order")
    rows = []
    for dataset in found:
        digest = dataset_registry.definition_digest(dataset)
        mine = []
        for namespace in namespaces:
            if namespace.binding != dataset.binding:
                continue
            check = checks.get(getattr(dataset, columns[namespace.environment_id]))
            mine.append(
                Agreement(
                    namespace,
                    databases.get((namespace.environment_id, dataset.database)),
                    check,
                    other_rules=bool(check and check.definition_digest != digest),
                    backup=next((each for each in backups if _compares(each, dataset, namespace)), None),
                )
            )
        rows.append(Checked(dataset, mine))
    return sorted(rows, key=lambda row: row.urgency)


def _newest_check(environment: int) -> Subquery:
    checks = Check.objects.filter(dataset=OuterRef("pk"), environment=environment)
    return Subquery(checks.order_by("-pk").values("pk")[:1])


def _compares(generation: Generation, dataset: Dataset, namespace: Namespace) -> bool:
    return generation.namespace_id == namespace.pk and generation.prefixes == [dataset.prefix]
