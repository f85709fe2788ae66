"""The outcome of the names that were sent: a listing shows the survivors, reading shows their entries.

It is needed if no answer came, if the answer contradicts itself, or if it names keys that are not deleted everywhere.
The names are read after the settle time. An absent name is gone; an unchanged one goes into a new chunk (at most
three attempts). A name with another value was written by another program and is reported, never deleted.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import batched

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit.actions import Action
from backups.cleanup.stages import STAGES, move
from backups.deletion import chunks as deletion_chunks
from backups.deletion.listing import deleted_and_not, list_again, sent_among
from backups.execution.live_digests import Frozen, KeyVerdict, frozen, read_and_compare
from backups.execution.prepaid import most_calls_for, reserve
from backups.execution.revalidation import TRIES
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops import clock
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, CursorRefused, KeyPage
from kvops.connections.budget import Prepaid
from kvops.models import Run
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done
from kvops.wording import Words, columns

State = CleanupStage.State
Chunk = CleanupChunk.State
Outcome = CleanupException.Outcome


def phase(lease: Lease, name: str) -> dict[str, object]:
    """The cursor at the beginning of a phase. It keeps a person's decisions and the chunk sizes learnt so far."""
    kept = ("waits", "go_on", "ending", "singly", "most")
    return {"phase": name, **{flag: lease.run.cursor[flag] for flag in kept if lease.run.cursor.get(flag)}}


def settle(stage: CleanupStage, lease: Lease, reader: Cloudflare, budget: Prepaid) -> Again | None:
    """The first listing of a deletion, page by page over steps.

    At its end a retry is planned, or the stage is deleted.
    """
    cursor = dict(lease.run.cursor)
    if not cursor.get("listing_since"):
        cursor.update(listing_since=clock.now().isoformat(), page=None, listed=0)
    while True:
        reserve(budget, 1)
        try:
            page = reader.list_keys(stage.namespace.namespace_id, prefix=stage.request.prefix, cursor=cursor["page"])
        except CursorRefused:
            return list_again(lease, phase(lease, "settle"))
        for verdicts in _still_there(stage, page, reader, budget):
            cursor["listed"] += len(verdicts)
            # An absent key leaves no record: it is read again in the next step.
            no_further = all(verdict is KeyVerdict.ABSENT for verdict in verdicts.values())
            note = gettext_noop("Some names are still listed; reading them.")
            with lease.checkpoint(no_further=no_further, cursor=cursor, note=note):
                except_(stage, verdicts, lease)
        cursor["page"] = page.cursor
        with lease.checkpoint(cursor=cursor, note=gettext_noop("Listing, to see that the names are gone.")):
            pass
        if page.cursor is None:
            return _settled(stage, lease, None if cursor["listed"] else str(cursor["listing_since"]))
        if lease.tired:
            return Again()


def _still_there(
    stage: CleanupStage, page: KeyPage, reader: Cloudflare, budget: Prepaid
) -> Iterator[dict[Frozen, KeyVerdict]]:
    """The sent names that are still listed, compared with the backup in batches."""
    read = stage.generation.read if stage.generation else ""
    for entries in batched(frozen(stage, sent_among(stage, page)), BULK_GET_LIMIT):
        reserve(budget, most_calls_for(len(entries)))
        yield read_and_compare(reader, stage.namespace.namespace_id, entries, read)


def _attempts(stage: CleanupStage, entries: Collection[Frozen]) -> dict[Frozen, int]:
    """The number of each entry's last attempt."""
    indexes = [entry.index for entry in entries]
    chunks_ = list(
        stage.chunks.filter(
            first_index__lte=max(indexes, default=-1), last_index__gte=min(indexes, default=0)
        ).values_list("first_index", "last_index", "attempt")
    )
    return {
        entry: max((attempt for first, last, attempt in chunks_ if first <= entry.index <= last), default=1)
        for entry in entries
    }


def except_(stage: CleanupStage, verdicts: Mapping[Frozen, KeyVerdict], lease: Lease) -> None:
    """Record the survivors: an unchanged key is sent again, or failed after three attempts; a changed key reappeared.

    A key that is listed but absent when read is gone. If a person ended the deletion, no key is sent again.
    """
    attempts = _attempts(stage, [entry for entry, verdict in verdicts.items() if verdict is KeyVerdict.EQUAL])
    found = []
    for entry, verdict in verdicts.items():
        if verdict is KeyVerdict.ABSENT:
            continue
        outcome = Outcome.REAPPEARED
        if verdict is KeyVerdict.EQUAL:
            outcome = Outcome.ALIVE if attempts[entry] < TRIES else Outcome.FAILED
            if lease.run.cursor.get("ending"):
                outcome = Outcome.STOPPED
        found.append(CleanupException(stage=stage, index=entry.index, name=entry.name, outcome=outcome))
    CleanupException.objects.bulk_create(found)


def settle_chunk(stage: CleanupStage, chunk: CleanupChunk, *, lease: Lease) -> None:
    """Close a chunk whose names were all read, within the caller's checkpoint; survivors go into a new chunk."""
    open_ = CleanupChunk.objects.filter(pk=chunk.pk, state__in=[Chunk.INTENDED, Chunk.SENT])
    open_.update(state=Chunk.SETTLED, settled_at=Now())
    _again(stage, [chunk])
    _record(stage, chunk, lease)


def settle_unsent(
    chunk: CleanupChunk, equal: Sequence[Frozen], problem: Words, *, lease: Lease, smaller: bool = False
) -> None:
    """Close a chunk that deleted nothing, and plan it again as the same attempt, within the caller's checkpoint.

    `smaller`: in two halves.
    """
    stage = chunk.stage
    if chunk.attempt > 1:
        CleanupException.objects.bulk_create(
            CleanupException(stage=stage, index=entry.index, name=entry.name, outcome=Outcome.ALIVE) for entry in equal
        )
    chunk.refresh_from_db()
    CleanupChunk.objects.filter(pk=chunk.pk, state=Chunk.INTENDED).update(
        state=Chunk.SETTLED, settled_at=Now(), answer={"unsent": True, **columns("problem", problem, 500)}
    )
    deletion_chunks.plan_again(
        chunk, deletion_chunks.halves(chunk) if smaller else [(chunk.first_index, chunk.last_index)]
    )
    _record(stage, chunk, lease)


def _again(stage: CleanupStage, settled: Sequence[CleanupChunk]) -> int:
    """Plan new chunks for the unchanged survivors of these chunks and return their number."""
    number = stage.chunks.count()
    made = 0
    for chunk in settled:
        alive = stage.exceptions.filter(
            outcome=Outcome.ALIVE, index__gte=chunk.first_index, index__lte=chunk.last_index
        )
        if alive.exists() and not stage.chunks.filter(first_index=chunk.first_index, state=Chunk.PLANNED).exists():
            made += 1
            CleanupChunk.objects.create(
                stage=stage,
                number=number + made,
                attempt=chunk.attempt + 1,
                first_index=chunk.first_index,
                last_index=chunk.last_index,
            )
    return made


def _record(stage: CleanupStage, chunk: CleanupChunk, lease: Lease) -> None:
    chunk.refresh_from_db(fields=["answer"])
    problem = chunk.answer.get("problem")
    STAGES.record(
        Action.CHUNK_SETTLED,
        stage,
        actor=lease.actor,
        digest=chunk.names_sha256,
        details={"chunk": chunk.number, "names": chunk.names, **({"problem": problem} if problem else {})},
    )


def _settled(stage: CleanupStage, lease: Lease, clean_since: str | None) -> Again | None:
    """After a whole listing: send the survivors again, or mark the stage as deleted and start the proof.

    `clean_since` is the beginning of the listing if it held no sent name: it is then the proof's first listing.
    """
    sent = list(stage.chunks.filter(state=Chunk.SENT).order_by("number"))
    survivors = stage.exceptions.filter(outcome=Outcome.ALIVE).exists()
    then: Again | Done = Again() if survivors else Done(deleted_and_not(stage))
    with lease.checkpoint(then, cursor=phase(lease, "delete" if survivors else "done")):
        stage.chunks.filter(state=Chunk.SENT).update(state=Chunk.SETTLED, settled_at=Now())
        for chunk in sent:
            _record(stage, chunk, lease)
        if survivors:
            _again(stage, _newest_per_range(stage))
            return None
        confirm = run_driver.create(
            Run.Kind.CONFIRM,
            subject=f"stage:{stage.pk}",
            label=str(stage),
            actor=lease.actor,
            person=lease.run.started_by,
            environment=stage.environment,
        )
        move(
            stage,
            [State.DELETING],
            State.DELETED,
            Action.STAGE_DELETED,
            actor=lease.actor,
            digest=stage.names_sha256,
            values={**deleted_and_not(stage), "first_listing_at": clean_since, "confirm_run": confirm},
            details=deleted_and_not(stage),
        )
    return None


def _newest_per_range(stage: CleanupStage) -> list[CleanupChunk]:
    newest: dict[int, CleanupChunk] = {}
    for chunk in stage.chunks.order_by("attempt", "number"):
        newest[chunk.first_index] = chunk
    return list(newest.values())
