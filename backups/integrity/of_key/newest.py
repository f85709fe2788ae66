"""The newest check that compared a key with D1, and the differences that it found for this key."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from backups.datasets import registry as dataset_registry
from backups.models import Check, Dataset, Difference
from kvops.models import Namespace
from kvops.web.gather import ask
from kvops.web.objects import Objects

SHOWN = 20
"""Differences of a key. A key of many rows can have many."""

_CHECK = ("dataset_id", "definition", "generation_id", "rules", "differences", "finished_at")


@dataclass(frozen=True)
class CheckedKey:
    """The dataset of a key, the newest finished check of it, and the key's differences in that check.

    `compared` is false if the check cannot say anything about the key: it did not keep all differences by name.
    """

    dataset: Dataset
    check: Check | None
    differences: Sequence[Difference] = ()
    compared: bool = True

    @property
    def many_rows(self) -> bool:
        """Whether the key holds many rows of D1."""
        return self.dataset.holds != Dataset.Holds.ROW


def newest_check(namespace: Namespace, name: str) -> CheckedKey | None:
    """The newest finished check of KV that covers the key; None without a dataset for it."""
    known = Dataset.objects.filter(binding=namespace.binding)
    done = Check.objects.of_kv().exclude(outcome=Check.Outcome.PENDING).filter(environment=namespace.environment)
    newest = Subquery(done.filter(dataset=OuterRef("pk")).order_by("-pk").values("pk")[:1])
    checks = Objects(Check.objects.filter(pk__in=known.values(newest=newest)), *_CHECK)
    datasets = Objects(known, "name", "prefix", "key", "holds")
    answers = ask({"datasets": datasets.question, "checks": checks.question}, {})
    dataset = dataset_registry.covering(datasets.of(answers, "datasets"), name)
    if dataset is None:
        return None
    check = next((one for one in checks.of(answers, "checks") if one.dataset_id == dataset.pk), None)
    if check is None:
        return CheckedKey(dataset, None)
    found = list(check.found.filter(name=name).order_by("row", "field", "pk")[:SHOWN]) if check.differences else []
    for one in found:
        one.check_run = check
    whole = not check.differences or check.found.count() >= check.differences
    return CheckedKey(dataset, check, found, compared=bool(found) or whole)
