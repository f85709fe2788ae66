"""A key and its row of D1 as both are now, field by field, for a person who asks. The view is recorded first.

Values are in the answer and nowhere else. A key of settings or an unclassified one is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.datasets import registry as dataset_registry
from backups.datasets.definition_parts import BadDataset
from backups.integrity.values import MASKED, FieldLine, ReadSide, SideReading
from backups.models import Check, Dataset, Difference
from kvops.cloudflare import CloudflareError
from kvops.inventory import value as key_value
from kvops.models import Namespace, Person
from kvops.refusals import Refused


class KeyNotCompared(Refused):
    """The key cannot be compared with D1; the message gives the reason."""


@dataclass(frozen=True)
class KeyAndRow:
    """A key and its row; `differs` is None if a side could not be read."""

    dataset: Dataset
    sides: Sequence[ReadSide]
    lines: Sequence[FieldLine]
    differs: bool | None
    rows: int


def compare_now(namespace: Namespace, name: str, *, by: Person) -> KeyAndRow:
    """Read the key and its row, and compare them by the rules of the dataset. Raises KeyNotCompared."""
    dataset = dataset_registry.dataset_for(namespace.binding, name)
    if dataset is None:
        raise KeyNotCompared(_("No dataset of the policy says which row of D1 this key stands for."))
    if dataset.holds != Dataset.Holds.ROW:
        raise KeyNotCompared(_("This key holds many rows. Check its dataset instead."))
    if key_value.category_of(namespace, name).sensitive:
        raise KeyNotCompared(MASKED)
    with log.transaction():
        log.record(
            Action.VALUE_VIEWED,
            actor=by.actor,
            **namespace.audited,
            details={"key": name, "masked": False, "against": f"{dataset.database}.{dataset.table}"},
        )
    try:
        return _read(dataset, namespace, name)
    except (CloudflareError, BadDataset) as problem:  # no token to ask with, or a definition that cannot be used
        raise KeyNotCompared(*problem.args) from problem


def _read(dataset: Dataset, namespace: Namespace, name: str) -> KeyAndRow:
    # A check and a difference that are never stored carry the rules and the place to the reading.
    check = Check(
        environment=namespace.environment,
        dataset=dataset,
        definition=dataset_registry.definition(dataset),
        namespace=namespace,
    )
    reading = SideReading(Difference(check_run=check, name=name, kind=Difference.Kind.FIELD), namespace)
    _kept, live, d1 = reading.sides()
    sides = [side for side in (live, d1) if side is not None]
    differing = reading.differing(sides[0], d1)
    differs = bool(differing) if differing is not None else None
    if differing is None and not any(side.problem for side in sides):
        differs = sides[0].there != d1.there
    return KeyAndRow(dataset, sides, reading.lines(sides, differing), differs, len(reading.found))
