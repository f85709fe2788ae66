"""The current entries of KV, compared with the verified backup by their digests.

The edge may refuse to let a name's value be read singly. The backup could read that name, so its value is another one
now: it counts as different and is never deleted.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from itertools import batched

from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import CleanupStage, GenerationEntry
from kvops import clock
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, KvEntry, NameRefused
from kvops.inventory.selection import EVERYTHING, Selection
from kvops.models import Read

SIDE_BY_SIDE = 10


class KeyVerdict(Enum):
    """The result of comparing a key with its backup."""

    EQUAL = "equal"
    ABSENT = "absent"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Frozen:
    """A frozen name with its digests in the backup; `key` is the key of these digests.

    An entry that `only` no longer chooses differs, also if the backup has it so: it was changed before the backup.
    """

    index: int
    name: str
    digest: bytes
    expiration: int | None
    key: bytes | None = field(default=None, repr=False, compare=False)
    only: Selection = field(default=EVERYTHING, repr=False, compare=False)
    at: float = field(default=0.0, repr=False, compare=False)
    """The time for `only`, in seconds since 1970. It is taken before the read: a reading thread has no database."""


def frozen(stage: CleanupStage, indexes: Sequence[int]) -> list[Frozen]:
    """The entries at these indexes, in order, with their digests in the backup.

    Names that the backup lacks are left out.

    Raises RunError if this process lacks the key of the backup's digests.
    """
    names = dict(stage.entries.filter(index__in=indexes).values_list("name", "index"))
    in_backup = GenerationEntry.objects.filter(generation=stage.generation_id, name__in=names)
    key, only = encryption.digest_key(stage.generation), stage.request.selection
    at = clock.now().timestamp() if only.older_hours else 0.0
    found = [
        Frozen(names[name], name, bytes(digest), expiration, key, only, at)
        for name, digest, expiration in in_backup.values_list("name", "digest", "expiration")
        if digest is not None  # a constraint allows a digest exactly for the entries that the backup holds
    ]
    return sorted(found, key=lambda entry: entry.index)


def read_and_compare(
    reader: Cloudflare, namespace_id: str, entries: Sequence[Frozen], read: str
) -> dict[Frozen, KeyVerdict]:
    """The entries compared with KV. The reads run in parallel, so that the oldest read is still recent at the end.

    Each answer is compared on arrival and then freed, because values in KV may have grown since the backup.
    """
    size = 1 if read == Read.EXACT else BULK_GET_LIMIT
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        found = pool.map(lambda some: compare_now(reader, namespace_id, some, read), batched(entries, size))
        return {entry: verdict for verdicts in found for entry, verdict in verdicts.items()}


def compare_now(
    reader: Cloudflare, namespace_id: str, entries: Sequence[Frozen], read: str
) -> Mapping[Frozen, KeyVerdict]:
    """The same for up to 100 entries, one by one if they must be read exactly."""
    if read == Read.EXACT:
        return {entry: _compare_exactly(reader, namespace_id, entry) for entry in entries}
    return _compare_in_bulk(reader, namespace_id, entries)


def _compare_exactly(reader: Cloudflare, namespace_id: str, entry: Frozen) -> KeyVerdict:
    try:
        return _verdict(entry, reader.exact_get(namespace_id, entry.name))
    except NameRefused:
        return KeyVerdict.DIFFERENT


def _compare_in_bulk(reader: Cloudflare, namespace_id: str, entries: Sequence[Frozen]) -> Mapping[Frozen, KeyVerdict]:
    """The entries compared in one bulk read.

    If the answer would be too large, the two halves are read one after the other. If the edge refuses a name that must
    be read singly, the names are read one by one.
    """
    try:
        current = reader.bulk_get_at_once(namespace_id, [entry.name for entry in entries])
    except NameRefused:
        if len(entries) == 1:
            return {entries[0]: KeyVerdict.DIFFERENT}
        alone = [_compare_in_bulk(reader, namespace_id, [entry]) for entry in entries]
        return {entry: verdict for verdicts in alone for entry, verdict in verdicts.items()}
    if current is not None:
        return compare_frozen(entries, current)
    half = len(entries) // 2
    first, second = (_compare_in_bulk(reader, namespace_id, some) for some in (entries[:half], entries[half:]))
    return {**first, **second}


def compare_frozen(entries: Iterable[Frozen], current: Mapping[str, KvEntry | None]) -> dict[Frozen, KeyVerdict]:
    """Each frozen entry compared with the entry read from KV: name, value bytes, metadata text and expiration."""
    return {entry: _verdict(entry, current.get(entry.name)) for entry in entries}


def _verdict(entry: Frozen, now: KvEntry | None) -> KeyVerdict:
    if now is None:
        return KeyVerdict.ABSENT
    if not entry.only.takes(now.expiration, now.metadata, entry.at):
        return KeyVerdict.DIFFERENT
    return KeyVerdict.EQUAL if entry_digest(now, entry.key) == entry.digest else KeyVerdict.DIFFERENT
