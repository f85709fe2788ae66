"""The current entries of KV under the names of a restore, compared with the backup.

Memory is bounded by the sizes that the backup gives. The edge may refuse to let a name's value be read singly. Such a
name has its refusal in place of an entry: it is neither absent nor equal, so it is never written.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from backups.generations.reader import Wanted
from backups.models import RestoreEntry
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, KvEntry, NameRefused
from kvops.models import Read

SIDE_BY_SIDE = 4
ANSWER = 4 * 1024 * 1024
"""Bytes of values that one answer should have at most; a larger value is read alone."""

LEAST = 60
"""Seconds: KV accepts no key that expires sooner (developers.cloudflare.com/kv/platform/limits)."""

Found = RestoreEntry.Found
type Live = KvEntry | NameRefused | None
"""The current entry of a name: None if it is absent, a refusal if it cannot be read."""

SINGLE = 1024 * 1024
"""Bytes. A larger value is written by itself, because a bulk call would hold it in memory several times."""


def difference(backup: KvEntry, live: Live) -> RestoreEntry.Found:
    """The result of comparing a key with its backup: absent, equal, unreadable, or the first differing part.

    The parts are compared in the order value, metadata, expiration.
    """
    if live is None:
        return Found.ABSENT
    if isinstance(live, NameRefused):
        return Found.UNREADABLE
    if live.data != backup.data:
        return Found.VALUE
    if live.metadata != backup.metadata:
        return Found.METADATA
    return Found.EQUAL if live.expiration == backup.expiration else Found.EXPIRATION


def too_late(backup: KvEntry, now: float) -> RestoreEntry.Found | None:
    """The reason if the entry's own expiration prevents a write at `now` (seconds since 1970), else None."""
    if backup.expiration is None or backup.expiration >= now + LEAST:
        return None
    return Found.EXPIRED if backup.expiration <= now else Found.SOON


def live_values(
    reader: Cloudflare, namespace_id: str, names: Sequence[Wanted], read: str
) -> Iterator[tuple[Wanted, Live]]:
    """Each name with its current entry in KV, in order; several reads run in parallel."""

    def get(batch: Sequence[Wanted]) -> Mapping[str, Live]:
        return _get(reader, namespace_id, [one.name for one in batch], read)

    batches = _batches(names, 1 if read == Read.EXACT else BULK_GET_LIMIT)
    under_way: deque[tuple[list[Wanted], Future[Mapping[str, Live]]]] = deque()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            while True:
                while len(under_way) < SIDE_BY_SIDE and (batch := next(batches, None)):
                    under_way.append((batch, pool.submit(get, batch)))
                if not under_way:
                    return
                batch, future = under_way.popleft()
                found = future.result()
                del future
                for one in batch:
                    yield one, found[one.name]
        finally:
            for _, future in under_way:
                future.cancel()


def _get(reader: Cloudflare, namespace_id: str, names: Sequence[str], read: str) -> Mapping[str, Live]:
    """The entries of some names. If the edge refuses one that must be read singly, the names are read one by one."""
    try:
        if read != Read.EXACT:
            return reader.bulk_get(namespace_id, names)
        return {name: reader.exact_get(namespace_id, name) for name in names}
    except NameRefused as refused:
        if len(names) == 1:
            return {names[0]: refused}
    return {name: live for alone in names for name, live in _get(reader, namespace_id, [alone], read).items()}


def _batches(names: Iterable[Wanted], most: int) -> Iterator[list[Wanted]]:
    batch: list[Wanted] = []
    size = 0
    for one in names:
        if batch and (len(batch) == most or size + one.size > ANSWER):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


def takes_bulk(entry: KvEntry) -> bool:
    """Whether the bulk call is documented to accept the entry's metadata: it accepts only objects."""
    return entry.metadata is None or entry.metadata.startswith("{")
