"""Writing one chunk of a restore: read what is there now, decide name by name, intend, write, store the answer.

KV has no compare-and-set: a key is only known to be absent, or to be what was copied before, up to the last read. The
gap to the write is stored with the chunk.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit.actions import Action
from backups import manifest, restore_chunks
from backups.clients import Clients
from backups.copied import Copied, Wanted
from backups.current import calls_for, reserve
from backups.differing import LEAST, current, difference, too_late
from backups.export import digest
from backups.models import GenerationEntry, Restore, RestoreChunk, RestoreEntry
from backups.previewing import sensitive
from backups.restore_moves import record
from kvops import clock, emergency, timing
from kvops.categories import Families
from kvops.cloudflare import ApiError, CloudflareError, Entry, RateLimited
from kvops.cloudflare.writes import BulkOutcome
from kvops.leases import Lease, RunError

State = RestoreChunk.State
Outcome = RestoreEntry.Outcome
Compared = RestoreEntry.Compared
Found = RestoreEntry.Found

SPARE = 200
"""Requests reserved beyond the reads: the write, single reads of binary values, repeats."""

SINGLE = 1024 * 1024
"""Bytes of a value above which it is written by itself: in a bulk call it would be in memory several times."""

MANY = 100
"""Entries written singly in one chunk, at most: each is a request."""


@dataclass
class _Plan:
    """What of a chunk is written and how, and what is left as it is and why."""

    bulk: list[Entry] = field(default_factory=list)
    single: list[Entry] = field(default_factory=list)
    indexes: dict[str, int] = field(default_factory=dict)
    became: dict[int, restore_chunks.Became] = field(default_factory=dict)
    soon: set[str] = field(default_factory=set)
    """Names that expire so soon that Cloudflare may refuse them by the time they arrive."""

    @property
    def names(self) -> list[str]:
        """Everything that is written, in the order of the bytes."""
        return sorted(self.indexes)


class Putter:
    """Writes the chunks of one restore, within one step of its run."""

    def __init__(self, restore: Restore, lease: Lease, clients: Clients, copied: Copied) -> None:
        self.restore, self.lease, self.copied = restore, lease, copied
        self.reader, self.writer, self.budget = clients.reader, clients.writer, clients.budget
        self.namespace_id = restore.namespace.namespace_id
        self._families = Families.of(restore.namespace.binding)
        self._calls_before = lease.run.calls

    @property
    def calls(self) -> int:
        """Requests of the run so far."""
        return self._calls_before + self.reader.calls + self.writer.calls

    def put(self, chunk: RestoreChunk) -> None:
        """Write what of a planned chunk may be written. Raises CloudflareError when nothing was written."""
        names = restore_chunks.names_of(chunk)
        copies = [self.copied.take(one) for one in names]
        self.lease.renew()
        oldest_read, read_at = time.monotonic(), clock.now()
        try:
            plan = self._plan(chunk, names, copies)
            del copies
            if len(plan.single) > MANY and len(names) > 1:
                self._halve(chunk)
                return
            reserve(self.budget, len(plan.single) + 1)
        except RateLimited:
            if not (self.budget.exhausted and len(names) > 1):
                raise
            # So many values must be read singly that the request limit does not suffice.
            self._halve(chunk)
            return
        self._intend(chunk, plan, read_at)
        if plan.indexes:
            self._write(chunk, plan, oldest_read)

    def _halve(self, chunk: RestoreChunk) -> None:
        with self.lease.checkpoint():
            restore_chunks.halve(chunk)

    def _plan(self, chunk: RestoreChunk, names: Sequence[Wanted], copies: Sequence[Entry]) -> _Plan:
        """Each name against what KV holds now. The budget for the reads and one write is reserved first."""
        reserve(self.budget, calls_for(self.restore.generation.read, len(names)) + SPARE)
        protected = self._protected(names)
        plan, now = _Plan(), clock.now().timestamp()
        live = current(self.reader, self.namespace_id, names, self.restore.generation.read)
        for copy, (one, entry) in zip(copies, live, strict=True):
            outcome = self._outcome(chunk, one, copy, entry, protected.get(one.name))
            if outcome is None and (late := too_late(copy, now)):
                outcome = Outcome(late.value)
            if outcome is not None:
                plan.became[one.index] = (outcome, Compared.UNKNOWN)
                continue
            plan.indexes[copy.name] = one.index
            alone = len(copy.data) > SINGLE or not _takes_bulk(copy)
            if copy.expiration is not None and copy.expiration < now + LEAST + timing.REQUEST_TIMEOUT:
                plan.soon.add(copy.name)
                alone = True
            (plan.single if alone else plan.bulk).append(copy)
        self.lease.renew()
        return plan

    def _protected(self, names: Sequence[Wanted]) -> Mapping[str, bytes]:
        """What was copied of the keys that may be overwritten: name to digest."""
        if self.restore.safety_id is None:
            return {}
        kept = GenerationEntry.objects.filter(
            generation=self.restore.safety_id,
            outcome=GenerationEntry.Outcome.KEPT,
            name__in=[one.name for one in names],
        )
        return {name: bytes(value or b"") for name, value in kept.values_list("name", "digest")}

    def _outcome(
        self, chunk: RestoreChunk, one: Wanted, copy: Entry, live: Entry | None, protected: bytes | None
    ) -> RestoreEntry.Outcome | None:
        """Why the name is not written; None when it is."""
        if live is None:
            return None
        how = difference(copy, live)
        if how is Found.EQUAL:
            return Outcome.EQUAL if chunk.attempt == 1 else Outcome.SENT
        if protected is not None and digest(live) == protected:
            return None
        if chunk.attempt > 1:
            return Outcome.DIFFERENT
        if self.restore.on_conflict != Restore.OnConflict.OVERWRITE:
            return Outcome(how.value)
        return Outcome.SENSITIVE if sensitive(self._families, one.name) else Outcome.CHANGED

    def _intend(self, chunk: RestoreChunk, plan: _Plan, read_at: datetime) -> None:
        sha256 = manifest.names_sha256(plan.names)
        progress = {} if plan.indexes else self.progress(chunk)
        with self.lease.checkpoint(None, **progress):
            emergency.hold(self.restore.environment)
            restore_chunks.keep(self.restore, plan.became)
            changed = RestoreChunk.objects.filter(pk=chunk.pk, state=State.PLANNED).update(
                # What is there already is looked at again after the settle time, like what is written.
                state=State.INTENDED if plan.indexes else State.SENT,
                names=len(plan.indexes),
                names_sha256=sha256,
                epoch=self.lease.epoch,
                read_at=read_at,
                intended_at=Now(),
                sent_at=None if plan.indexes else Now(),
            )
            if changed != 1:
                raise RunError("chunk_moved", gettext_noop("A chunk was moved by another worker."))
            record(
                Action.RESTORE_CHUNK_INTENDED,
                self.restore,
                actor=self.lease.actor,
                digest=sha256,
                details={"chunk": chunk.number, "names": len(plan.indexes), "not_written": len(plan.became)},
            )
        chunk.refresh_from_db()

    def _write(self, chunk: RestoreChunk, plan: _Plan, oldest_read: float) -> None:
        gap_ms = int((time.monotonic() - oldest_read) * 1000)
        outcomes: list[BulkOutcome] = []
        refused: set[str] = set()
        try:
            if plan.bulk:
                self.lease.insist()
                outcomes.append(self.writer.bulk_put(self.namespace_id, plan.bulk))
            for entry in plan.single:
                self.lease.keep()
                self.lease.insist()
                try:
                    outcomes.append(self.writer.put_value(self.namespace_id, entry))
                except ApiError as error:
                    if entry.name not in plan.soon or error.status != HTTPStatus.BAD_REQUEST:
                        raise
                    refused.add(entry.name)
        except CloudflareError:
            if not outcomes:
                self._nothing_written(chunk)
            raise  # what was written before stays intended: it is settled by reading
        self._written(chunk, plan, outcomes, refused, gap_ms)

    def _nothing_written(self, chunk: RestoreChunk) -> None:
        """Close a chunk whose first call did nothing; it is planned anew as the same try."""
        with self.lease.checkpoint():
            restore_chunks.settled(chunk, lease=self.lease)
            restore_chunks.again(chunk, attempt=chunk.attempt)

    def _written(
        self, chunk: RestoreChunk, plan: _Plan, outcomes: Sequence[BulkOutcome], refused: set[str], gap_ms: int
    ) -> None:
        """Store the answer. A chunk with an unknown outcome stays intended: it is settled by reading."""
        answer = {
            "done": sum(outcome.successful_count for outcome in outcomes),
            "not_everywhere": sum(len(outcome.unsuccessful) for outcome in outcomes),
            "problem": "; ".join(filter(None, (outcome.problem for outcome in outcomes)))[:500],
        }
        unknown = any(outcome.unknown for outcome in outcomes)
        became: dict[int, restore_chunks.Became] = {}
        for name, index in plan.indexes.items():
            if name in refused:
                became[index] = (Outcome.SOON, Compared.UNKNOWN)
            elif not unknown:
                became[index] = (Outcome.SENT, Compared.UNKNOWN)
        with self.lease.checkpoint(None, **self.progress(chunk)):
            restore_chunks.keep(self.restore, became)
            values: dict[str, object] = {} if unknown else {"state": State.SENT, "sent_at": Now()}
            RestoreChunk.objects.filter(pk=chunk.pk, state=State.INTENDED).update(
                answer=answer, gap_ms=gap_ms, **values
            )

    def progress(self, chunk: RestoreChunk) -> dict[str, object]:
        """How far the run has come with this chunk."""
        done = max(self.lease.run.done, chunk.last_index + 1)
        return {"done": done, "calls": self.calls, "note": f"{done} of {self.restore.names} names dealt with."}


def _takes_bulk(entry: Entry) -> bool:
    """Whether the bulk call is documented to take the entry's metadata: only objects are."""
    return entry.metadata is None or entry.metadata.startswith("{")
