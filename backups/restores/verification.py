"""After the settle time, written entries are read back and compared with the backup, name by name.

It also settles a chunk whose answer never came. A missing name goes into a new chunk (at most three attempts). A name
with another value was written by another program, and is reported. Written names that are in KV are in the inventory at
once.

If a restore is ended early, no further attempt follows, and every sent name is read when no stale read is possible.
"""

from collections.abc import Sequence
from itertools import batched

from backups.execution.clients import Clients
from backups.execution.live_values import Live, live_values
from backups.execution.prepaid import most_calls_for, reserve
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.generations.reader import GenerationReader, Wanted
from backups.models import Restore, RestoreChunk, RestoreEntry
from backups.restores import chunks as restore_chunks, safety_backup
from kvops.cloudflare import KvEntry, ListedKey, NameRefused
from kvops.inventory import own_changes
from kvops.runs.lease import Lease

Outcome = RestoreEntry.Outcome
Compared = RestoreEntry.Compared

BLOCK = 100
"""Names read back per checkpoint; each may need two further requests."""

LOOKED_AT = (
    *RestoreEntry.UNDER_WAY,
    Outcome.EQUAL,
    Outcome.VALUE,
    Outcome.METADATA,
    Outcome.EXPIRATION,
    Outcome.SENSITIVE,
    Outcome.CHANGED,
    Outcome.DIFFERENT,
)


class Settler:
    """Compares the chunks of one restore with KV, within one step of its run.

    `lost` is the outcome of a sent key that is not in KV, and `absent` that of one that was equal and not sent; None if
    it is sent again. A bulk change overrides both, and `expected`.
    """

    absent: RestoreEntry.Outcome | None = None
    lost: RestoreEntry.Outcome | None = None

    def __init__(self, restore: Restore, lease: Lease, clients: Clients, backup: GenerationReader) -> None:
        self.restore, self.lease, self.backup = restore, lease, backup
        self.reader, self.budget, self.meter = clients.reader, clients.budget, clients.meter
        self._key = encryption.digest_key(restore.generation)
        self._ending = bool(lease.run.cursor.get("ending"))

    def expected(self, one: Wanted) -> bytes | None:
        """The digest of the entry that was to be written; None if none could be."""
        return one.digest

    def settle(self, chunk: RestoreChunk) -> None:
        """Compare every name of the chunk, close it, and plan another attempt for missing entries."""
        for block in batched(restore_chunks.of_range(chunk, *LOOKED_AT), BLOCK):
            results, there = self._compare(chunk, block)
            # A name to be written again is read again in the next step.
            with self.lease.checkpoint(no_further=all(how is Compared.UNKNOWN for _, how in results.values())):
                restore_chunks.keep(self.restore, results)
                own_changes.put_back(self.restore.namespace, there)
        with self.lease.checkpoint():
            restore_chunks.settled(chunk, lease=self.lease)
            if restore_chunks.of_range(chunk, Outcome.AGAIN):
                restore_chunks.repeat_chunk(chunk, attempt=chunk.attempt + 1)

    def _compare(
        self, chunk: RestoreChunk, block: Sequence[Wanted]
    ) -> tuple[dict[int, restore_chunks.NameResult], list[ListedKey]]:
        """The result of each name by index, and the written keys that are in KV.

        A key that others wrote stays out of the inventory, so that a scan finds it new.
        """
        read = self.restore.generation.read
        reserve(self.budget, most_calls_for(len(block)))
        self.meter.insist({"read": len(block)})
        safety_digests = safety_backup.safety_digests(self.restore, block)
        found, there = {}, []
        for one, live in live_values(self.reader, self.restore.namespace.namespace_id, block, read):
            found[one.index] = self._result_of(chunk, one, live, safety_digests.get(one.name))
            if isinstance(live, KvEntry) and one.outcome in RestoreEntry.UNDER_WAY:
                there.append(ListedKey(live.name, live.expiration, live.metadata))
        return found, there

    def _result_of(
        self, chunk: RestoreChunk, one: Wanted, live: Live, safety_digests: bytes | None
    ) -> restore_chunks.NameResult:
        """The outcome of a name, and its comparison with the backup."""
        was = Outcome(one.outcome)
        if isinstance(live, NameRefused):
            return (Outcome.UNREADABLE if was in (*RestoreEntry.UNDER_WAY, Outcome.EQUAL) else was), Compared.UNKNOWN
        held = None if live is None else entry_digest(live, self._key)
        compared = {self.expected(one): Compared.EQUAL, None: Compared.ABSENT}.get(held, Compared.DIFFERENT)
        ours = was in RestoreEntry.UNDER_WAY
        if compared is Compared.EQUAL:
            return (Outcome.WRITTEN if ours else was), compared
        if not ours and was is not Outcome.EQUAL:
            return was, compared
        # Absent, or still equal to the safety backup: the write did not arrive.
        if live is None or entry_digest(live, encryption.digest_key(self.restore.overwritten_backup)) == safety_digests:
            gone = self.lost if ours else self.absent
            if gone is not None and compared is Compared.ABSENT:
                return gone, compared
            return self._missed(chunk, compared)
        return Outcome.DIFFERENT, compared

    def _missed(self, chunk: RestoreChunk, compared: RestoreEntry.Compared) -> restore_chunks.NameResult:
        """The result of a name whose write did not arrive."""
        if self._ending:
            return Outcome.STOPPED, compared
        if chunk.attempt < restore_chunks.TRIES:
            return Outcome.AGAIN, Compared.UNKNOWN
        return Outcome.FAILED, compared
