"""Sending one chunk: read the current entries, keep those equal to the backup, intend, delete, store the answer.

The budget for all requests of the chunk is reserved first, and the reads run side by side. The intent is committed,
then one bulk delete takes exactly the names whose value, metadata and expiration equal the verified backup.

KV has no compare-and-delete. A key is known to be unchanged up to its last read, and that read may be a stale read
some minutes old. Therefore five minutes lie between the reads of the backup and the first delete: a key that somebody
keeps writing is not equal in both. A delete is never sent more than five seconds after the oldest read it relies on.
The client checks the clock with every piece it writes, after it has connected; a delete broken off in the middle is
settled by reading. Otherwise the chunk is read again or made smaller. The gap up to the end of the delete is stored
with each chunk and shown. A value written within KV's lag or the gap can be lost.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from backups import archive
from backups.deletion import chunks as deletion_chunks, settle as deletion_settle
from backups.execution import prepaid
from backups.execution.clients import Clients, contradicted
from backups.execution.live_digests import Frozen, KeyVerdict, frozen, read_and_compare
from backups.models import CleanupChunk, CleanupStage, Generation
from kvops import clock, timing
from kvops.cloudflare import BULK_GET_LIMIT, CloudflareError, RateLimited, TooLate
from kvops.cloudflare.writes import BulkOutcome
from kvops.runs import emergency
from kvops.runs.lease import Lease, RunProgress
from kvops.runs.outcomes import RunError
from kvops.wording import columns, counted

State = CleanupChunk.State
Hold = Callable[[], None]
"""Checks the approval within the transaction of an intent; until its commit, no withdrawal comes in between."""
READS = 2
"""Attempts to read a chunk in time, before it is halved: reading may take longer than a read may be old."""
TOO_SLOW = gettext_noop(
    "The current values could not be read quickly enough before the delete, not even key by key. These keys were not "
    "sent. Try again when Cloudflare and the database answer faster, or stop here."
)


@dataclass(frozen=True)
class _Read:
    """The last read of a chunk; `since` and `at` are the times right before it, on either clock."""

    since: float
    at: datetime
    verdicts: dict[Frozen, KeyVerdict]

    @property
    def until(self) -> float:
        """The latest time to send a delete that relies on the read."""
        return self.since + timing.READ_FRESH

    @property
    def old(self) -> bool:
        """Whether the read is too old for a delete."""
        return time.monotonic() > self.until


class Sender:
    """Sends and settles the chunks of one stage, within one step of its run."""

    def __init__(self, stage: CleanupStage, generation: Generation, lease: Lease, clients: Clients, hold: Hold) -> None:
        self.stage, self.generation, self.lease = stage, generation, lease
        self.reader, self.writer, self.budget = clients.reader, clients.writer, clients.budget
        self.meter, self._hold = clients.meter, hold
        self._calls_before = lease.run.calls
        self.namespace_id = stage.namespace.namespace_id

    def send(self, chunk: CleanupChunk) -> None:
        """Send the names of a planned chunk that still equal the backup.

        Raises CloudflareError if nothing was deleted.
        """
        deletion_chunks.except_not_backed_up(chunk)
        entries = deletion_chunks.names_of(chunk)
        reads = READS * prepaid.calls_for(self.generation.read, len(entries))
        # The whole budget is reserved before the first read, so that no request waits between a read and the delete.
        prepaid.reserve(self.budget, reads + prepaid.spare(self.lease))
        self.meter.insist({"read": READS * len(entries), "delete": len(entries)})
        try:
            read = self._read_in_time(entries)
        except RateLimited:
            if not self.budget.exhausted or chunk.first_index == chunk.last_index:
                raise
            # More values must be read singly than the reserved budget suffices for.
            read = None
        if not self.budget.paid and prepaid.reserve_more(self.lease):
            return  # the chunk is still planned
        if read is None or not self.budget.paid:
            self._make_smaller(chunk)
        else:
            self._intend_and_delete(chunk, read)

    def _read_in_time(self, entries: Sequence[Frozen]) -> _Read | None:
        """The entries compared with KV; None if reading takes longer than a read may be old."""
        for _ in range(READS):
            since, at = time.monotonic(), clock.now()
            verdicts = read_and_compare(self.reader, self.namespace_id, entries, self.generation.read)
            self.lease.renew()
            read = _Read(since, at, verdicts)
            if not read.old:
                return read
        return None

    def _make_smaller(self, chunk: CleanupChunk) -> None:
        """Replace the chunk by two halves. Raises RunError if it cannot be made smaller."""
        if chunk.first_index == chunk.last_index:
            raise RunError("too_slow", TOO_SLOW)
        cursor = dict(self.lease.run.cursor)
        if not self.budget.paid:  # the next chunks will need this size too
            half = (chunk.last_index - chunk.first_index + 2) // 2
            cursor["most"] = min(half, cursor.get("most", half))
        note = gettext_noop("Reading takes too long; going on with smaller chunks.")
        with self.lease.checkpoint(cursor=cursor, note=note):
            deletion_chunks.halve(chunk)

    def _intend_and_delete(self, chunk: CleanupChunk, read: _Read) -> None:
        verdicts = read.verdicts
        equal = [entry for entry, verdict in verdicts.items() if verdict is KeyVerdict.EQUAL]
        digest = archive.names_sha256(entry.name for entry in equal)
        progress: RunProgress = {} if equal else self._progress(chunk)
        with self.lease.checkpoint(no_further=bool(equal), **progress):
            emergency.hold(self.stage.environment)
            self._hold()
            deletion_chunks.except_(chunk, verdicts)
            changed = CleanupChunk.objects.filter(pk=chunk.pk, state=State.PLANNED).update(
                state=State.INTENDED if equal else State.SETTLED,
                names=len(equal),
                names_sha256=digest,
                epoch=self.lease.epoch,
                read_at=read.at,
                intended_at=Now(),
                settled_at=None if equal else Now(),
            )
            if changed != 1:
                raise RunError("chunk_moved", gettext_noop("A chunk was moved by another worker."))
            log.record(
                Action.CHUNK_INTENDED,
                actor=self.lease.actor,
                environment=self.stage.environment.slug,
                subject=f"stage:{self.stage.pk}",
                subject_label=str(self.stage),
                digest=digest,
                details={"chunk": chunk.number, "names": len(equal), "not_sent": len(verdicts) - len(equal)},
            )
        if equal:
            self._delete(chunk, read, equal)

    def _delete(self, chunk: CleanupChunk, read: _Read, equal: Sequence[Frozen]) -> None:
        """One bulk delete of the intended names, unless the reads have grown too old meanwhile."""
        if read.old:
            self._too_old(chunk, equal)
            return
        try:
            with self.lease.fence():
                names = [entry.name for entry in equal]
                outcome = self.writer.bulk_delete(self.namespace_id, names, until=read.until)
        except TooLate:
            self._too_old(chunk, equal)
            return
        except CloudflareError as refused:
            with self.lease.checkpoint(no_further=True):
                deletion_settle.settle_unsent(chunk, equal, refused, lease=self.lease)
            raise
        self._sent(chunk, outcome, gap_ms=int((self.writer.written_at - read.since) * 1000))

    def _too_old(self, chunk: CleanupChunk, equal: Sequence[Frozen]) -> None:
        """Close a chunk that was not sent because its reads were too old, and plan its halves."""
        with self.lease.checkpoint(no_further=True):
            deletion_settle.settle_unsent(chunk, equal, TOO_SLOW, lease=self.lease, smaller=True)
        if chunk.first_index == chunk.last_index:
            raise RunError("too_slow", TOO_SLOW)

    def _sent(self, chunk: CleanupChunk, outcome: BulkOutcome, *, gap_ms: int) -> None:
        """Store the answer. A chunk with unknown names stays intended: it is settled by reading, as after a crash."""
        answer = {
            "done": outcome.successful_count,
            "not_everywhere": len(outcome.unsuccessful),
            **columns("problem", outcome.problem or "", 500),
        }
        with self.lease.checkpoint(**self._progress(chunk)):
            values: dict[str, object] = {} if outcome.unknown else {"state": State.SENT, "sent_at": Now()}
            CleanupChunk.objects.filter(pk=chunk.pk, state=State.INTENDED).update(
                answer=answer, gap_ms=gap_ms, **values
            )
            if outcome.contradicts and outcome.problem:
                contradicted(self.stage, outcome.problem)

    def _progress(self, chunk: CleanupChunk) -> RunProgress:
        done = max(self.lease.run.done, chunk.last_index + 1)
        calls = self._calls_before + self.reader.calls + self.writer.calls
        note = counted(gettext_noop("Names dealt with: %(n)s of %(total)s."), done, self.stage.names)
        return {"done": done, "calls": calls, "note": note}

    def settle_by_reading(self, chunk: CleanupChunk) -> None:
        """Close a chunk by reading its names: absent keys are gone, unchanged keys are sent again in a new chunk.

        It reads and commits in small batches, so that values that must be read singly fit into any budget.
        """
        over = self.stage.exceptions.values("index")
        indexes = self.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index).exclude(
            index__in=over
        )
        for piece in batched(indexes.order_by("index").values_list("index", flat=True), BULK_GET_LIMIT):
            entries = frozen(self.stage, piece)
            prepaid.reserve(self.budget, prepaid.most_calls_for(len(entries)))
            verdicts = read_and_compare(self.reader, self.namespace_id, entries, self.generation.read)
            # An absent key leaves no record: it is read again in the next step.
            no_further = all(verdict is KeyVerdict.ABSENT for verdict in verdicts.values())
            with self.lease.checkpoint(no_further=no_further):
                deletion_settle.except_(self.stage, verdicts, self.lease)
        with self.lease.checkpoint():
            deletion_settle.settle_chunk(self.stage, chunk, lease=self.lease)
