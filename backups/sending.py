"""Sending one chunk: read what is there now, keep what still equals the copy, intend, delete, store the answer.

KV has no compare-and-delete, so a key is only known to be unchanged up to the last read; the gap to the delete is
stored with the chunk.
"""

import time
from collections.abc import Sequence

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from backups import chunks, manifest, settling
from backups.clients import Clients
from backups.current import Frozen, Verdict, calls_for, compare, frozen, read_side_by_side, reserve
from backups.models import CleanupChunk, CleanupStage, Generation
from kvops import clock, emergency
from kvops.cloudflare import CloudflareError, RateLimited
from kvops.cloudflare.writes import BulkOutcome
from kvops.leases import Lease, RunError

State = CleanupChunk.State
SPARE = 200
"""Requests reserved beyond the reads: the delete, single reads of binary values, repeats."""


class Sender:
    """Sends and settles the chunks of one stage, within one step of its run."""

    def __init__(self, stage: CleanupStage, generation: Generation, lease: Lease, clients: Clients) -> None:
        self.stage, self.generation, self.lease = stage, generation, lease
        self.reader, self.writer, self.budget = clients.reader, clients.writer, clients.budget
        self._calls_before = lease.run.calls
        self.namespace_id = stage.namespace.namespace_id

    def read(self, entries: Sequence[Frozen]) -> dict[Frozen, Verdict]:
        """The entries compared with what KV holds now. The budget for the reads and one delete is reserved first."""
        names = [entry.name for entry in entries]
        reserve(self.budget, calls_for(self.generation.read, len(names)) + SPARE)
        current = read_side_by_side(self.reader, self.namespace_id, names, self.generation.read)
        self.lease.renew()
        return compare(entries, current)

    def send(self, chunk: CleanupChunk) -> None:
        """Send what of a planned chunk still equals the copy. Raises CloudflareError when nothing was deleted."""
        entries = chunks.names_of(chunk)
        oldest_read, read_at = time.monotonic(), clock.now()
        try:
            verdicts = self.read(entries)
        except RateLimited:
            if not (self.budget.exhausted and chunk.first_index < chunk.last_index):
                raise
            # So many values must be read singly that the request limit does not suffice.
            with self.lease.checkpoint():
                chunks.halve(chunk)
            return
        equal = [entry for entry, verdict in verdicts.items() if verdict is Verdict.EQUAL]
        digest = manifest.names_sha256(entry.name for entry in equal)
        progress = {} if equal else self._progress(chunk)
        with self.lease.checkpoint(None, **progress):
            emergency.hold(self.stage.environment)
            chunks.except_(chunk, verdicts)
            changed = CleanupChunk.objects.filter(pk=chunk.pk, state=State.PLANNED).update(
                state=State.INTENDED if equal else State.SETTLED,
                names=len(equal),
                names_sha256=digest,
                epoch=self.lease.epoch,
                read_at=read_at,
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
            try:
                with self.lease.fence():
                    gap_ms = int((time.monotonic() - oldest_read) * 1000)
                    outcome = self.writer.bulk_delete(self.namespace_id, [entry.name for entry in equal])
            except CloudflareError:
                with self.lease.checkpoint():
                    settling.settle_refused(self.stage, chunk, equal, lease=self.lease)
                raise
            self._sent(chunk, outcome, gap_ms)

    def _sent(self, chunk: CleanupChunk, outcome: BulkOutcome, gap_ms: int) -> None:
        """Store the answer. Unknown names stay intended: they are settled by reading, as after a crash."""
        answer = {
            "done": outcome.successful_count,
            "not_everywhere": len(outcome.unsuccessful),
            "problem": outcome.problem[:500],
        }
        with self.lease.checkpoint(None, **self._progress(chunk)):
            values: dict[str, object] = {} if outcome.unknown else {"state": State.SENT, "sent_at": Now()}
            CleanupChunk.objects.filter(pk=chunk.pk, state=State.INTENDED).update(
                answer=answer, gap_ms=gap_ms, **values
            )

    def _progress(self, chunk: CleanupChunk) -> dict[str, object]:
        done = max(self.lease.run.done, chunk.last_index + 1)
        calls = self._calls_before + self.reader.calls + self.writer.calls
        return {"done": done, "calls": calls, "note": f"{done} of {self.stage.names} names dealt with."}

    def settle_by_reading(self, chunk: CleanupChunk) -> None:
        """Close a chunk whose answer never came: absent is gone, unchanged is sent again in a new chunk."""
        over = self.stage.exceptions.values("index")
        indexes = self.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index).exclude(
            index__in=over
        )
        verdicts = self.read(frozen(self.stage, list(indexes.values_list("index", flat=True))))
        with self.lease.checkpoint():
            settling.settle_chunk(self.stage, chunk, verdicts, lease=self.lease)
