"""The values of named keys out of a backup, one at a time, from only the parts that hold them."""

from collections.abc import Collection, Iterable, Iterator
from itertools import batched

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups import archive
from backups.archive import Damaged
from backups.bucket import access as bucket_access
from backups.bucket.store import Store
from backups.generations.export import entry_digest
from backups.generations.values import ENCRYPTED, ValueHidden
from backups.models import Generation, GenerationEntry, GenerationPart
from kvops.inventory import families as key_families
from kvops.models import Category, Namespace
from kvops.refusals import Sentence

NAMES = 2_000
"""Names that one query looks up."""


def insist_readable(generation: Generation) -> None:
    """Raise ValueHidden unless a page may read values out of the backup."""
    if generation.encrypted:
        raise ValueHidden(ENCRYPTED)
    if generation.status in Generation.GOING:
        raise ValueHidden(_("The backup was deleted."))


def masked_among(namespace: Namespace, names: Iterable[str]) -> set[str]:
    """The names whose values are not shown: settings and unclassified keys, by the policy in force."""
    families = key_families.Families.of(namespace.binding)
    found = {name: families.family(name) for name in names}
    return {name for name, family in found.items() if family is None or Category(family.category).sensitive}


def kept_values(generation: Generation, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The names of these that the backup holds, with their values, in the order of the names' bytes.

    Memory is bounded by one value. Raises Damaged and StoreError.
    """
    found = sorted(_kept(generation, names))
    parts = list(generation.parts.order_by("number"))
    with bucket_access.store_of(generation) as store:
        for part in parts:
            wanted = {name: digest for index, name, digest in found if part.first_index <= index <= part.last_index}
            if wanted:
                yield from _of_part(store, part, wanted)


def _kept(generation: Generation, names: Collection[str]) -> Iterator[tuple[int, str, bytes]]:
    """Index, name and digest of the entries."""
    kept = generation.entries.filter(outcome=GenerationEntry.Outcome.KEPT)
    for some in batched(sorted(names), NAMES):
        for index, name, digest in kept.filter(name__in=some).values_list("index", "name", "digest"):
            yield index, name, bytes(digest or b"")


def _of_part(store: Store, part: GenerationPart, wanted: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for key in filter(None, (part.object_key, part.api_only_key)):
        last = max(wanted, default="")
        for entry in archive.read_entries(store.open(key)):
            if entry.name > last:
                break
            if (digest := wanted.pop(entry.name, None)) is None:
                continue
            if entry_digest(entry, None) != digest:
                raise Damaged(
                    Sentence(
                        gettext_noop("%(key)s holds another value of %(name)s than was written."),
                        key=key,
                        name=repr(entry.name),
                    )
                )
            yield entry.name, entry.data
        if not wanted:
            return
    raise Damaged(
        Sentence(
            gettext_noop("The objects of part %(part)s do not hold %(name)s."), part=part.number, name=repr(min(wanted))
        )
    )
