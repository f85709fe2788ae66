"""The newest check that compared a key with D1, and the differences that it found for this key."""

from collections.abc import Sequence
from dataclasses import dataclass

from backups.datasets import registry as dataset_registry
from backups.models import Check, Dataset, Difference
from kvops.models import Namespace

SHOWN = 20
"""Differences of a key. A key of many rows can have many."""


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
    dataset = dataset_registry.dataset_for(namespace.binding, name)
    if dataset is None:
        return None
    done = Check.objects.of_kv().exclude(outcome=Check.Outcome.PENDING).filter(environment=namespace.environment)
    check = done.filter(dataset=dataset).order_by("pk").last()
    if check is None:
        return CheckedKey(dataset, None)
    found = list(check.found.filter(name=name).order_by("row", "field", "pk")[:SHOWN]) if check.differences else []
    whole = not check.differences or check.found.count() >= check.differences
    return CheckedKey(dataset, check, found, compared=bool(found) or whole)
