"""The only code that deletes keys, and only inside a run with a used approval.

Chunk by chunk: read the current values side by side, keep the names whose name, value, metadata and expiration
still equal the verified copy, commit the intent, send one bulk delete of exactly those names, store the answer.
A chunk whose answer is unknown is never sent again blindly: it is settled by reading. KV has no compare-and-delete,
so a key is only known to be unchanged up to the last read; the gap to the delete is stored with the chunk.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.models.functions import Now

from audit import log
from audit.actions import Action
from backups import integrity, manifest, proof
from backups.current import Frozen, Verdict, calls_for, compare, frozen, read_side_by_side
from backups.models import Check, CleanupChunk, CleanupException, CleanupStage, GenerationEntry
from kvops import approvals, clock, credentials, environments, timing
from kvops.budget import Prepaid, SharedBudget
from kvops.cloudflare import Cloudflare, RateLimited
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from kvops.models import Environment, Read
from kvops.runs import Again, Done, Lease, RunError

State = CleanupChunk.State
Outcome = CleanupException.Outcome
FIRST_CHUNK = 100
CHUNK = 1000
CHUNK_BYTES = 20 * 1024 * 1024
EXACT_CHUNK = 10
SPARE = 200
"""Requests reserved beyond the reads: the delete, single reads of binary values, repeats."""


def delete_keys_permanently(lease: Lease) -> Again | Done | None:
    """One step of a deletion run. Raises RunError when the target, a right or the check does not hold."""
    stage = CleanupStage.objects.select_related("environment", "namespace", "request", "generation", "approval").get(
        run=lease.run
    )
    _insist_target(stage, lease)
    with _clients(stage.environment) as (reader, writer, budget):
        deletion = _Deletion(stage, lease, reader, writer, budget)
        title = reader.namespace(stage.namespace.namespace_id).title
        if title != stage.namespace.title:
            raise RunError(
                "wrong_target", f"The namespace is called {title!r} now, not {stage.namespace.title!r} as approved."
            )
        phase = lease.run.cursor.get("phase", "begin")
        if phase == "begin":
            return deletion.begin()
        if phase == "delete":
            return deletion.delete()
        return proof.settle(stage, lease, reader, budget)


def _insist_target(stage: CleanupStage, lease: Lease) -> None:
    """The approval, and the target it names, still hold."""
    approval, environment = stage.approval, stage.environment
    if approval is None or (lease.run.approval_id, lease.run.approval_digest) != (approval.pk, approval.digest):
        raise RunError("not_approved", "The run does not carry the stage's approval.")
    shown: dict[str, Any] = json.loads(approval.evidence)
    now = {
        "account_id": environment.account_id,
        "namespace_id": stage.namespace.namespace_id,
        "namespace_title": stage.namespace.title,
        "bucket": environment.r2_bucket,
        "prefix": stage.request.prefix,
    }
    for name, value in now.items():
        if shown.get(name) != value:
            raise RunError("wrong_target", f"{name} is {value} now, not {shown.get(name)} as approved.")
    if shown["names"]["sha256"] != stage.names_sha256 or shown["generation"]["id"] != stage.generation_id:
        raise RunError("wrong_set", "The names or the copy are not those that were approved.")


@contextmanager
def _clients(environment: Environment) -> Iterator[tuple[Cloudflare, KVWriter, Prepaid]]:
    """A reader and a writer on one reserved budget. The write token is resolved here and nowhere else."""
    try:
        read_token = credentials.resolve(environment.read_token)
        write_token = credentials.resolve(environment.write_token)
    except credentials.UnresolvedReference as missing:
        raise RunError("no_token", str(missing)) from missing
    if write_token == read_token:
        raise RunError("wrong_token", "The read and the write token are the same; they must differ.")
    budget = Prepaid(SharedBudget(environment.account_id))
    with (
        Cloudflare(token=read_token, **environments.connection(environment, budget)) as reader,
        KVWriter(token=write_token, **environments.connection(environment, budget)) as writer,
    ):
        _reserve(budget, 1)
        try:
            yield reader, writer, budget
        finally:
            budget.settle()


def _reserve(budget: Prepaid, calls: int) -> None:
    wait = budget.reserve(calls)
    if wait:
        raise RateLimited("The request budget is used up.", wait)


class _Deletion:
    """One step's work on a stage."""

    def __init__(
        self, stage: CleanupStage, lease: Lease, reader: Cloudflare, writer: KVWriter, budget: Prepaid
    ) -> None:
        if stage.generation is None or stage.approval is None:
            raise RunError("not_backed_up", "The stage has no verified copy.")
        self.stage, self.generation, self.approval = stage, stage.generation, stage.approval
        self.lease, self.reader, self.writer, self.budget = lease, reader, writer, budget
        self.namespace_id = stage.namespace.namespace_id

    def begin(self) -> Again | None:
        """Check the copy against D1 once more, right before the first delete."""
        if self.stage.request.category == "legacy":
            check = integrity.recheck(self.lease, self.generation)
            if check is None:
                return Again()
            if check.outcome != Check.Outcome.PASSED:
                raise RunError(
                    "differences",
                    f"Check {check.pk}, right before the start, found {check.differences} differences with D1."
                    " Nothing was deleted. Correct them and try again.",
                )
        with self.lease.checkpoint(Again(), cursor={"phase": "delete"}, note="Checked; deleting."):
            pass
        return None

    def delete(self) -> Again | None:
        """Chunks until the step is over or nothing is left to send."""
        while not self.lease.tired:
            self._insist_rights()
            doubtful = self.stage.chunks.filter(state=State.INTENDED).first()
            if doubtful is not None:
                wait = timing.SETTLE - (clock.now() - (doubtful.intended_at or clock.now())).total_seconds()
                if wait > 0:
                    return Again(
                        wait, "The answer to a delete is unknown; its names are read again after the settle time."
                    )
                self._settle_by_reading(doubtful)
                continue
            chunk = self.stage.chunks.filter(state=State.PLANNED).order_by("number").first() or self._plan()
            if chunk is None:
                then = Again(timing.SETTLE, "Everything was sent; waiting to see it gone.")
                with self.lease.checkpoint(then, cursor={"phase": "settle"}):
                    pass
                return None
            self._send(chunk)
        return Again()

    def _insist_rights(self) -> None:
        try:
            approvals.still_valid(self.approval)
        except approvals.Refused as refused:
            raise RunError("rights_gone", str(refused)) from refused

    def _plan(self) -> CleanupChunk | None:
        """The next range of entries: at most 1,000 keys and 20 MiB, 100 keys in the first chunk."""
        newest = self.stage.chunks.order_by("-last_index").first()
        first = newest.last_index + 1 if newest else 0
        if first >= self.stage.names:
            return None
        limit = EXACT_CHUNK if self.generation.read == Read.EXACT else (CHUNK if newest else FIRST_CHUNK)
        names = self.stage.entries.filter(index__gte=first, index__lt=first + limit).order_by("index")
        sizes = dict(
            GenerationEntry.objects.filter(generation=self.generation, name__in=names.values("name")).values_list(
                "name", "size"
            )
        )
        last, total = first - 1, 0
        for index, name in names.values_list("index", "name"):
            total += sizes.get(name) or 0
            if total > CHUNK_BYTES and last >= first:
                break
            last = index
        number = (self.stage.chunks.count() or 0) + 1
        with self.lease.checkpoint():
            return CleanupChunk.objects.create(stage=self.stage, number=number, first_index=first, last_index=last)

    def _names(self, chunk: CleanupChunk) -> list[Frozen]:
        """What the chunk may send: its range without exceptions; a retry only what was found alive and unchanged."""
        of_range = self.stage.exceptions.filter(index__gte=chunk.first_index, index__lte=chunk.last_index)
        if chunk.attempt > 1:
            alive = of_range.filter(outcome=Outcome.ALIVE).values_list("index", flat=True)
            return frozen(self.stage, list(alive))
        excepted = set(of_range.values_list("index", flat=True))
        wanted = [index for index in range(chunk.first_index, chunk.last_index + 1) if index not in excepted]
        return frozen(self.stage, wanted)

    def _read(self, entries: Sequence[Frozen]) -> dict[Frozen, Verdict]:
        """The entries compared with what KV holds now. The budget for the reads and one delete is reserved first."""
        names = [entry.name for entry in entries]
        _reserve(self.budget, calls_for(self.generation.read, len(names)) + SPARE)
        current = read_side_by_side(self.reader, self.namespace_id, names, self.generation.read)
        self.lease.renew()
        return compare(entries, current)

    def _send(self, chunk: CleanupChunk) -> None:
        entries = self._names(chunk)
        oldest_read, read_at = time.monotonic(), clock.now()
        verdicts = self._read(entries)
        equal = [entry for entry, verdict in verdicts.items() if verdict is Verdict.EQUAL]
        digest = manifest.names_sha256(entry.name for entry in equal)
        with self.lease.checkpoint():
            self._except(chunk, verdicts)
            self._uncopied(chunk)
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
                raise RunError("chunk_moved", "A chunk was moved by another worker.")
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
            self.lease.insist()
            gap_ms = int((time.monotonic() - oldest_read) * 1000)
            outcome = self.writer.bulk_delete(self.namespace_id, [entry.name for entry in equal])
            self._sent(chunk, outcome, gap_ms)

    def _sent(self, chunk: CleanupChunk, outcome: BulkOutcome, gap_ms: int) -> None:
        """Store the answer. Unknown names stay intended: they are settled by reading, as after a crash."""
        answer = {
            "done": outcome.successful_count,
            "not_everywhere": len(outcome.unsuccessful),
            "problem": outcome.problem[:500],
        }
        known = not outcome.unknown
        done = max(self.lease.run.done, chunk.last_index + 1)
        note = f"{done} of {self.stage.names} names dealt with."
        with self.lease.checkpoint(
            done=done, calls=self.lease.run.calls + self.reader.calls + self.writer.calls, note=note
        ):
            values: dict[str, object] = {"state": State.SENT, "sent_at": Now()} if known else {}
            CleanupChunk.objects.filter(pk=chunk.pk, state=State.INTENDED).update(
                answer=answer, gap_ms=gap_ms, **values
            )

    def _settle_by_reading(self, chunk: CleanupChunk) -> None:
        """Close a chunk whose answer never came: absent is gone, unchanged is sent again in a new chunk."""
        over = self.stage.exceptions.values("index")
        indexes = self.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index).exclude(
            index__in=over
        )
        verdicts = self._read(frozen(self.stage, list(indexes.values_list("index", flat=True))))
        with self.lease.checkpoint():
            proof.settle_chunk(self.stage, chunk, verdicts, lease=self.lease)

    def _except(self, chunk: CleanupChunk, verdicts: dict[Frozen, Verdict]) -> None:
        """A row, with the reason, for each name that is not sent; a retried name is no exception any more."""
        self.stage.exceptions.filter(
            outcome=Outcome.ALIVE, index__gte=chunk.first_index, index__lte=chunk.last_index
        ).delete()
        now = clock.now().timestamp()
        for entry, verdict in verdicts.items():
            if verdict is Verdict.EQUAL:
                continue
            outcome = Outcome.CHANGED
            if verdict is Verdict.ABSENT:
                expired = entry.expiration is not None and entry.expiration <= now
                outcome = Outcome.EXPIRED if expired else Outcome.VANISHED
            CleanupException.objects.create(
                stage=self.stage, chunk=chunk, index=entry.index, name=entry.name, outcome=outcome
            )

    def _uncopied(self, chunk: CleanupChunk) -> None:
        """Names that are not in the copy (they expired while it was made) are never sent."""
        copied = GenerationEntry.objects.filter(generation=self.generation, outcome=GenerationEntry.Outcome.KEPT)
        missing = self.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index).exclude(
            name__in=copied.filter(
                name__in=self.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index).values(
                    "name"
                )
            ).values("name")
        )
        for index, name in missing.values_list("index", "name"):
            CleanupException.objects.get_or_create(
                stage=self.stage, index=index, defaults={"chunk": chunk, "name": name, "outcome": Outcome.EXPIRED}
            )
