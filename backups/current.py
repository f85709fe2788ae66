"""What KV holds now, compared with the verified copy."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum

from backups import encryption
from backups.export import digest
from backups.models import CleanupStage, GenerationEntry
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, Entry
from kvops.models import Read

SIDE_BY_SIDE = 10


class Verdict(Enum):
    """How a key compares with its copy."""

    EQUAL = "equal"
    ABSENT = "absent"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Frozen:
    """One frozen name with what the copy says of it; `key` is that of the copy's digests."""

    index: int
    name: str
    digest: bytes
    expiration: int | None
    key: bytes | None = field(default=None, repr=False, compare=False)


def frozen(stage: CleanupStage, indexes: Sequence[int]) -> list[Frozen]:
    """The entries at these indexes, in order, with their digests in the copy; a name that is not in it is left out.

    Raises RunError when the key of the copy's digests is not here.
    """
    names = dict(stage.entries.filter(index__in=indexes).values_list("name", "index"))
    copied = GenerationEntry.objects.filter(generation=stage.generation_id, name__in=names)
    key = encryption.digest_key(stage.generation)
    found = [
        Frozen(names[name], name, bytes(digest), expiration, key)
        for name, digest, expiration in copied.values_list("name", "digest", "expiration")
        if digest is not None  # by constraint, what is in the copy has one and nothing else
    ]
    return sorted(found, key=lambda entry: entry.index)


def read_side_by_side(
    reader: Cloudflare, namespace_id: str, names: Sequence[str], read: str
) -> Mapping[str, Entry | None]:
    """The current entries of the names, read at the same time so that the oldest read stays young."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        if read == Read.EXACT:
            singles = pool.map(lambda name: reader.exact_get(namespace_id, name), names)
            return dict(zip(names, singles, strict=True))
        batches = [names[start : start + BULK_GET_LIMIT] for start in range(0, len(names), BULK_GET_LIMIT)]
        found: dict[str, Entry | None] = {}
        for answer in pool.map(lambda batch: reader.bulk_get(namespace_id, batch), batches):
            found.update(answer)
        return found


def compare(entries: Iterable[Frozen], current: Mapping[str, Entry | None]) -> dict[Frozen, Verdict]:
    """Each frozen entry against what was read: name, value bytes, metadata text and expiration."""
    return {entry: _verdict(entry, current.get(entry.name)) for entry in entries}


def _verdict(entry: Frozen, now: Entry | None) -> Verdict:
    if now is None:
        return Verdict.ABSENT
    return Verdict.EQUAL if digest(now, entry.key) == entry.digest else Verdict.DIFFERENT
