"""Which backups agree with D1, for the pages that show it."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, QuerySet, Subquery

from backups.datasets import registry as dataset_registry
from backups.generations.contents import newest
from backups.models import Check, Dataset, DifferenceCase, Generation
from kvops.models import Database, Environment, Namespace


@dataclass(frozen=True)
class Agreement:
    """The newest check of KV by a dataset in one environment, and the newest backup that can be checked.

    `case` is the open case of KV. `other` is the newest check of a file or of rows; it says nothing about KV.
    """

    namespace: Namespace
    database: Database | None
    check: Check | None
    other: Check | None
    other_rules: bool
    backup: Generation | None
    case: DifferenceCase | None


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
        others = [agreement.other for agreement in self.agreements]
        if any(check and check.outcome == Check.Outcome.FAILED for check in [*checks, *others]):
            return 0
        return 1 if None in checks else 2


def agreements() -> list[Checked]:
    """Every dataset with its newest check per environment; datasets with differences come first."""
    environments = Environment.objects.order_by("order")
    newest_of = {}
    for environment in environments:
        newest_of[f"kv_{environment.pk}"] = _newest_check(Check.objects.of_kv(), environment)
        newest_of[f"other_{environment.pk}"] = _newest_check(Check.objects.of_rows(), environment)
    found = list(Dataset.objects.order_by("name").annotate(**newest_of))
    ids = {getattr(dataset, name) for dataset in found for name in newest_of} - {None}
    checks = Check.objects.select_related("run", "generation", "namespace").in_bulk(ids)
    backups = newest(Generation.objects.of_kv().whole())
    databases = {(each.environment_id, each.binding): each for each in Database.objects.all()}
    open_cases = DifferenceCase.objects.filter(source=Check.Source.KV).still_open().select_related("owner")
    cases = {(case.dataset_id, case.environment_id): case for case in open_cases}
    namespaces = Namespace.objects.select_related("environment").order_by("environment__order")
    rows = []
    for dataset in found:
        digest = dataset_registry.definition_digest(dataset)
        mine = []
        for namespace in namespaces:
            if namespace.binding != dataset.binding:
                continue
            check = checks.get(getattr(dataset, f"kv_{namespace.environment_id}"))
            mine.append(
                Agreement(
                    namespace,
                    databases.get((namespace.environment_id, dataset.database)),
                    check,
                    checks.get(getattr(dataset, f"other_{namespace.environment_id}")),
                    other_rules=bool(check and check.definition_digest != digest),
                    backup=next((each for each in backups if _compares(each, dataset, namespace)), None),
                    case=cases.get((dataset.pk, namespace.environment_id)),
                )
            )
        rows.append(Checked(dataset, mine))
    return sorted(rows, key=lambda row: row.urgency)


def history(dataset: Dataset) -> QuerySet[Check]:
    """The finished checks of a dataset, newest first."""
    finished = dataset.check_set.exclude(outcome=Check.Outcome.PENDING)
    return finished.select_related("environment", "generation").order_by("-pk")


def _newest_check(checks: QuerySet[Check], environment: Environment) -> Subquery:
    return Subquery(checks.filter(dataset=OuterRef("pk"), environment=environment).order_by("-pk").values("pk")[:1])


def _compares(generation: Generation, dataset: Dataset, namespace: Namespace) -> bool:
    return generation.namespace_id == namespace.pk and generation.prefixes == [dataset.prefix]
