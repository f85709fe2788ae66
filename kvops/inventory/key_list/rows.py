"""The rows of a page of keys: the values that most keys of the page share stand above the list, once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvops.models import Family, Key, Namespace
from kvops.operations import registry
from kvops.operations.parts import Question


@dataclass(frozen=True)
class CommonValues:
    """The values that more than half of the keys of a page share: category, family, no expiration, metadata or none."""

    category: str = ""
    family: Family | None = None
    never_expires: bool = False
    metadata: bool = False


@dataclass(frozen=True)
class InventoryRow:
    """A key with the values in which it differs from the others; `size` is None if no backup may tell it."""

    key: Key
    category: str
    family: Family | None
    shows_expiration: bool
    shows_metadata: bool
    size: int | None


def of_page(namespace: Namespace, keys: Sequence[Key]) -> tuple[CommonValues, list[InventoryRow], bool]:
    """The shared values, the rows, and whether any row has a size.

    The size of a sensitive value is left out: even its step belongs to the page of the key.
    """
    shared = _shared(keys)
    sizes: Mapping[str, int] = {}
    if open_ := [key.name for key in keys if not key.is_sensitive]:
        sizes = registry.ask(Question.KEY_SIZES, namespace, open_)
    rows = [
        InventoryRow(
            key,
            category="" if key.category == shared.category else key.category,
            family=None if key.family_id == (shared.family.pk if shared.family else None) else key.family,
            shows_expiration=key.expiration is not None or not shared.never_expires,
            shows_metadata=(key.metadata is not None) != shared.metadata,
            size=sizes.get(key.name),
        )
        for key in keys
    ]
    return shared, rows, bool(sizes)


def _shared(keys: Sequence[Key]) -> CommonValues:
    families = {key.family_id: key.family for key in keys}
    return CommonValues(
        category=most(key.category for key in keys) or "",
        family=families.get(most(key.family_id for key in keys)),
        never_expires=most(key.expiration is None for key in keys) is True,
        metadata=most(key.metadata is not None for key in keys) is True,
    )


def most[Shared](values: Iterable[Shared]) -> Shared | None:
    """The value that is more than half of the values; None if there is none."""
    counted = Counter(values)
    found = counted.most_common(1)
    return found[0][0] if found and found[0][1] * 2 > counted.total() else None
