"""Writing one chunk of a restore: read the current entries, decide name by name, intend, write, store the answer.

One bulk put writes the names. A value over 1 MiB, or metadata that is not an object, is written by a single put.
Expirations are absolute; a key with less than 60 seconds left is listed instead, because KV refuses such an
expiration.

KV has no compare-and-set: a key is known to be absent, or to equal the safety backup, up to the last read. A key that
appears after the comparison is never overwritten. The gap to the write is stored with the chunk.
"""

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit.actions import Action
from backups import archive
from backups.execution.clients import Clients, contradicted
from backups.execution.live_values import LEAST, SINGLE, Live, difference, live_values, takes_bulk, too_late
from backups.execution.prepaid import calls_for, reserve, reserve_more, spare
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.generations.reader import GenerationReader, Wanted
from backups.models import Restore, RestoreChunk, RestoreEntry
from backups.restores import chunks as restore_chunks, safety_backup
from backups.restores.moves import record_restore
from backups.restores.plan import ChunkPlan
from backups.restores.preview import cannot_be_backed_up
from kvops import clock, timing
from kvops.cloudflare import ApiError, CloudflareError, KvEntry, RateLimited, TooLate
from kvops.cloudflare.writes import BulkOutcome
from kvops.inventory.families import Families
from kvops.runs import emergency
from kvops.runs.lease import Lease, RunProgress
from kvops.runs.outcomes import RunError
from kvops.wording import counted

State = RestoreChunk.State
Outcome = RestoreEntry.Outcome
Compared = RestoreEntry.Compared
Found = RestoreEntry.Found


MANY = 100
"""Entries of a chunk written singly, at most: each takes a request."""

ALMOST = 1.0
"""Seconds. In this time before a read grows too old, no single write begins: starting a request takes time."""

TOO_SLOW = gettext_noop(
    "The current values could not be read quickly enough before the write, not even key by key. These keys were not "
    "written. Try again when Cloudflare and the database answer faster, or stop here."
)


class Putter:
    """Writes the chunks of one restore, within one step of its run.

    `absent` is the outcome of a key that is not in KV; None if such a key is written. `lost` is that of a key that was
    sent before. A bulk change overrides both, and `to_write`.
    """

    absent: RestoreEntry.Outcome | None = None
    lost: RestoreEntry.Outcome | None = None

    def __init__(self, restore: Restore, lease: Lease, clients: Clients, backup: GenerationReader) -> None:
        self.restore, self.lease, self.backup = restore, lease, backup
        self.reader, self.writer, self.budget = clients.reader, clients.writer, clients.budget
        self.meter = clients.meter
        self.namespace_id = restore.namespace.namespace_id
        self._families = Families.of(restore.namespace.binding)
        self._calls_before = lease.run.calls

    @property
    def calls(self) -> int:
        """Requests of the run so far."""
        return self._calls_before + self.reader.calls + self.writer.calls

    def put(self, chunk: RestoreChunk) -> None:
        """Write the allowed entries of a planned chunk. Raises CloudflareError if nothing was written."""
        names = restore_chunks.names_of(chunk)
        backups = [self.backup.take(one) for one in names]
        self.lease.renew()
        try:
            plan = self._plan(chunk, names, backups)
            if len(plan.single) > MANY and len(names) > 1:
                self._make_smaller(chunk, names)
                return
            reserve(self.budget, 3 * len(plan.single) + 1)
        except RateLimited:
            if not (self.budget.exhausted and len(names) > 1):
                raise
            # More values must be read singly than the reserved budget suffices for.
            if not reserve_more(self.lease):
                self._make_smaller(chunk, names)
            return
        del backups
        if plan.old:
            self._make_smaller(chunk, names)
            return
        self._intend(chunk, plan)
        if plan.indexes:
            self._write(chunk, plan)

    def to_write(self, backup: KvEntry) -> KvEntry | None:
        """The entry that is written for one of the backup; None if none can be."""
        return backup

    def _make_smaller(self, chunk: RestoreChunk, names: Sequence[Wanted]) -> None:
        """Replace the chunk by two halves. Raises RunError if it cannot be made smaller."""
        if len(names) < 2:
            raise RunError("too_slow", TOO_SLOW)
        with self.lease.checkpoint(note=gettext_noop("Reading takes too long; going on with smaller chunks.")):
            restore_chunks.halve(chunk)

    def _plan(self, chunk: RestoreChunk, names: Sequence[Wanted], backups: Sequence[KvEntry]) -> ChunkPlan:
        """Compare each name with KV and decide. The budget for the reads and one write is reserved first."""
        reserve(self.budget, calls_for(self.restore.generation.read, len(names)) + spare(self.lease))
        self.meter.insist({"read": 2 * len(names), "write": len(names)})
        plan = ChunkPlan(time.monotonic(), clock.now(), safety_backup.safety_digests(self.restore, names))
        now = plan.read_at.timestamp()
        live = live_values(self.reader, self.namespace_id, names, self.restore.generation.read)
        for backup, (one, current) in zip(backups, live, strict=True):
            entry = self.to_write(backup)
            if entry is None:
                plan.results[one.index] = (Outcome.UNMARKED, Compared.UNKNOWN)
                continue
            outcome = self._outcome(chunk, one, entry, current, plan.safety_digests)
            if outcome is None and (late := too_late(entry, now)):
                outcome = Outcome(late.value)
            if outcome is not None:
                plan.results[one.index] = (outcome, Compared.UNKNOWN)
                continue
            plan.indexes[entry.name] = one.index
            alone = len(entry.data) > SINGLE or not takes_bulk(entry)
            if entry.expiration is not None and entry.expiration < now + LEAST + timing.REQUEST_TIMEOUT:
                plan.soon.add(entry.name)
                alone = True
            if alone:
                plan.single.append((one, entry))
            else:
                plan.bulk.append(entry)
        self.lease.renew()
        return plan

    def _outcome(
        self,
        chunk: RestoreChunk,
        one: Wanted,
        entry: KvEntry,
        live: Live,
        safety_digests: Mapping[str, bytes],
    ) -> RestoreEntry.Outcome | None:
        """The reason why the entry is not written; None if it is."""
        if not isinstance(live, KvEntry):
            missing = self.absent if chunk.attempt == 1 else self.lost
            return missing if live is None else Outcome.UNREADABLE
        how = difference(entry, live)
        if how is Found.EQUAL:
            return Outcome.EQUAL if chunk.attempt == 1 else Outcome.SENT
        if entry_digest(live, encryption.digest_key(self.restore.overwritten_backup)) == safety_digests.get(one.name):
            return None
        if chunk.attempt > 1:
            return Outcome.DIFFERENT
        if self.restore.on_conflict != Restore.OnConflict.OVERWRITE:
            return Outcome(how.value)
        return Outcome.SENSITIVE if cannot_be_backed_up(self._families, one.name) else Outcome.CHANGED

    def _intend(self, chunk: RestoreChunk, plan: ChunkPlan) -> None:
        sha256 = archive.names_sha256(plan.names)
        progress: RunProgress = {} if plan.indexes else self.progress(chunk)
        with self.lease.checkpoint(no_further=bool(plan.indexes), **progress):
            emergency.hold(self.restore.environment)
            restore_chunks.keep(self.restore, plan.results)
            changed = RestoreChunk.objects.filter(pk=chunk.pk, state=State.PLANNED).update(
                # Existing equal keys are read again after the settle time, like written ones.
                state=State.INTENDED if plan.indexes else State.SENT,
                names=len(plan.indexes),
                names_sha256=sha256,
                epoch=self.lease.epoch,
                read_at=plan.read_at,
                intended_at=Now(),
                sent_at=None if plan.indexes else Now(),
            )
            if changed != 1:
                raise RunError("chunk_moved", gettext_noop("A chunk was moved by another worker."))
            record_restore(
                Action.RESTORE_CHUNK_INTENDED,
                self.restore,
                actor=self.lease.actor,
                digest=sha256,
                details={"chunk": chunk.number, "names": len(plan.indexes), "not_written": len(plan.results)},
            )
        chunk.refresh_from_db()

    def _write(self, chunk: RestoreChunk, plan: ChunkPlan) -> None:
        """The bulk call, then the single writes, unless the reads have grown too old meanwhile."""
        answers: list[BulkOutcome] = []
        left: dict[str, RestoreEntry.Outcome] = {}
        if plan.old:
            self._too_old(chunk)
            return
        try:
            if plan.bulk:
                with self.lease.fence():
                    answers.append(self.writer.bulk_put(self.namespace_id, plan.bulk, until=plan.until))
                plan.gap = self.writer.written_at - plan.since
            for one, entry in plan.single:
                outcome = self._write_singly(chunk, one, entry, plan, answers)
                if outcome is not None:
                    left[one.name] = outcome
        except CloudflareError as error:
            if isinstance(error, TooLate) and not answers:
                self._too_old(chunk)
                return
            if not answers:
                self._nothing_written(chunk)
            raise  # entries written before this stay intended: they are settled by reading
        self._written(chunk, plan, answers, left)

    def _write_singly(
        self, chunk: RestoreChunk, one: Wanted, entry: KvEntry, plan: ChunkPlan, answers: list[BulkOutcome]
    ) -> RestoreEntry.Outcome | None:
        """Write one entry; if its read has grown old, read it again first.

        Returns the reason if it was not written, else None.
        """
        self.lease.keep()
        self.budget.keep()
        since = plan.since
        if time.monotonic() > plan.until - ALMOST:
            since = time.monotonic()
            [(_, live)] = live_values(self.reader, self.namespace_id, [one], self.restore.generation.read)
            outcome = self._outcome(chunk, one, entry, live, plan.safety_digests)
            if outcome is not None:
                return outcome
        try:
            with self.lease.fence():
                answers.append(self.writer.put_value(self.namespace_id, entry, until=since + timing.READ_FRESH))
        except ApiError as error:
            if entry.name not in plan.soon or error.status != HTTPStatus.BAD_REQUEST:
                raise
            return Outcome.SOON
        plan.gap = max(plan.gap, self.writer.written_at - since)
        return None

    def _too_old(self, chunk: RestoreChunk) -> None:
        """Close a chunk of which nothing was written because its reads were too old, and plan its halves."""
        several = chunk.first_index < chunk.last_index
        self._nothing_written(chunk, smaller=several)
        if not several:
            raise RunError("too_slow", TOO_SLOW)

    def _nothing_written(self, chunk: RestoreChunk, *, smaller: bool = False) -> None:
        """Close a chunk of which nothing was written; it is planned again as the same attempt."""
        with self.lease.checkpoint(no_further=True):
            restore_chunks.settled(chunk, lease=self.lease)
            if smaller:
                restore_chunks.halves(chunk)
            else:
                restore_chunks.repeat_chunk(chunk, attempt=chunk.attempt)

    def _written(
        self,
        chunk: RestoreChunk,
        plan: ChunkPlan,
        answers: Sequence[BulkOutcome],
        left: Mapping[str, RestoreEntry.Outcome],
    ) -> None:
        """Store the answer. A chunk with an unknown outcome stays intended: it is settled by reading."""
        answer = {
            "done": sum(one.successful_count for one in answers),
            "not_everywhere": sum(len(one.unsuccessful) for one in answers),
            "problem": "; ".join(str(one.problem) for one in answers if one.problem)[:500],
        }
        unknown = any(one.unknown for one in answers)
        results: dict[int, restore_chunks.NameResult] = {}
        for name, index in plan.indexes.items():
            if name in left:
                results[index] = (left[name], Compared.UNKNOWN)
            elif not unknown:
                results[index] = (Outcome.SENT, Compared.UNKNOWN)
        with self.lease.checkpoint(**self.progress(chunk)):
            restore_chunks.keep(self.restore, results)
            values: dict[str, object] = {} if unknown else {"state": State.SENT, "sent_at": Now()}
            RestoreChunk.objects.filter(pk=chunk.pk, state=State.INTENDED).update(
                answer=answer, gap_ms=int(plan.gap * 1000), **values
            )
            if contradictions := [one.problem for one in answers if one.contradicts and one.problem]:
                contradicted(self.restore, contradictions[0])

    def progress(self, chunk: RestoreChunk) -> RunProgress:
        """The progress of the run with this chunk."""
        done = max(self.lease.run.done, chunk.last_index + 1)
        note = counted(gettext_noop("Names dealt with: %(n)s of %(total)s."), done, self.restore.names)
        return {"done": done, "calls": self.calls, "note": note}
