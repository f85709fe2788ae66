"""The chunks of a deletion: the names each may send, and the names left out with their reason.

A chunk has at most 1,000 keys and 20 MiB; until something is deleted, at most 100 keys.
"""

from collections.abc import Mapping, Sequence

from django.db import connection
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.db.models.functions import Now

from backups import archive
from backups.cleanup.evidence import CHUNK, CHUNK_BYTES, EXACT_CHUNK, FIRST_CHUNK
from backups.cleanup.stages import STAGES
from backups.execution.live_digests import Frozen, KeyVerdict, frozen
from backups.models import CleanupChunk, CleanupException, CleanupStage, GenerationEntry
from kvops import clock
from kvops.models import Environment, Person, Read, Run

State = CleanupChunk.State
Outcome = CleanupException.Outcome


def sent(stage: CleanupStage) -> QuerySet[CleanupChunk]:
    """The chunks with names that were sent, or may have been."""
    return stage.chunks.filter(names__gt=0).exclude(answer__has_key="unsent")


def gone(stage: CleanupStage) -> bool:
    """Whether any key may have been deleted.

    Either an answer of Cloudflare says so, or a sent name is no exception, or it was written again by another program.
    """
    if sent(stage).filter(answer__done__gt=0).exists():
        return True
    last = sent(stage).aggregate(last=Max("last_index"))["last"]
    excepted = stage.exceptions.filter(index=OuterRef("index")).exclude(outcome=Outcome.REAPPEARED)
    return last is not None and stage.entries.filter(~Exists(excepted), index__lte=last).exists()


def next_chunk(stage: CleanupStage, most: int = CHUNK) -> CleanupChunk | None:
    """The next range of entries, None at the end: at most 1,000 keys and 20 MiB, 100 keys until one is gone.

    `most`: the size that fits the request limit, learnt from the values that must be read singly.

    On a free plan every chunk is as small as the first, so that it fits into the rest of the day's quota.
    """
    newest = stage.chunks.order_by("-last_index").first()
    first = newest.last_index + 1 if newest else 0
    if first >= stage.names or stage.generation is None:
        return None
    small = stage.environment.plan == Environment.Plan.FREE or not gone(stage)
    limit = EXACT_CHUNK if stage.generation.read == Read.EXACT else (FIRST_CHUNK if small else CHUNK)
    limit = min(limit, most)
    names = stage.entries.filter(index__gte=first, index__lt=first + limit).order_by("index")
    in_backup = GenerationEntry.objects.filter(generation=stage.generation, name__in=names.values("name"))
    sizes = dict(in_backup.values_list("name", "size"))
    taken: list[int] = []
    total = 0
    for index, name in names.values_list("index", "name"):
        total += sizes.get(name) or 0
        if total > CHUNK_BYTES and taken:
            break
        taken.append(index)
    return CleanupChunk.objects.create(
        stage=stage, number=stage.chunks.count() + 1, first_index=first, last_index=taken[-1]
    )


def halve(chunk: CleanupChunk) -> None:
    """Replace a planned chunk by two halves, within the caller's transaction."""
    leave(chunk)
    plan_again(chunk, halves(chunk))


def halves(chunk: CleanupChunk) -> Sequence[tuple[int, int]]:
    """The ranges of the chunk's two halves; its own range if it holds a single index."""
    first, last = chunk.first_index, chunk.last_index
    middle = (first + last) // 2
    return [(first, middle), (middle + 1, last)] if first < last else [(first, last)]


def plan_again(chunk: CleanupChunk, ranges: Sequence[tuple[int, int]]) -> None:
    """Plan chunks of these ranges with the same attempt number, within the caller's transaction."""
    number = chunk.stage.chunks.count()
    for more, (first, last) in enumerate(ranges, 1):
        CleanupChunk.objects.create(
            stage=chunk.stage, number=number + more, attempt=chunk.attempt, first_index=first, last_index=last
        )


def leave(*planned: CleanupChunk) -> None:
    """Settle planned chunks without sending."""
    CleanupChunk.objects.filter(pk__in=[chunk.pk for chunk in planned], state=State.PLANNED).update(
        state=State.SETTLED, settled_at=Now(), names_sha256=archive.names_sha256([])
    )


def names_of(chunk: CleanupChunk) -> list[Frozen]:
    """The names the chunk may send: its range without exceptions. A retry sends only keys still found unchanged."""
    of_range = chunk.stage.exceptions.filter(index__gte=chunk.first_index, index__lte=chunk.last_index)
    if chunk.attempt > 1:
        alive = of_range.filter(outcome=Outcome.ALIVE).values_list("index", flat=True)
        return frozen(chunk.stage, list(alive))
    excepted = set(of_range.values_list("index", flat=True))
    wanted = [index for index in range(chunk.first_index, chunk.last_index + 1) if index not in excepted]
    return frozen(chunk.stage, wanted)


def except_(chunk: CleanupChunk, verdicts: Mapping[Frozen, KeyVerdict]) -> None:
    """Record an exception with its reason for each name that is not sent. A retried name is no exception any more."""
    chunk.stage.exceptions.filter(
        outcome=Outcome.ALIVE, index__gte=chunk.first_index, index__lte=chunk.last_index
    ).delete()
    now = clock.now().timestamp()
    found = []
    for entry, verdict in verdicts.items():
        if verdict is KeyVerdict.EQUAL or (verdict is KeyVerdict.ABSENT and chunk.attempt > 1):
            continue  # an earlier chunk sent the key and it is absent now, so it was deleted
        outcome = Outcome.CHANGED if chunk.attempt == 1 else Outcome.REAPPEARED
        if verdict is KeyVerdict.ABSENT:
            expired = entry.expiration is not None and entry.expiration <= now
            outcome = Outcome.EXPIRED if expired else Outcome.VANISHED
        found.append(
            CleanupException(stage=chunk.stage, chunk=chunk, index=entry.index, name=entry.name, outcome=outcome)
        )
    # One statement, because the reads grow older meanwhile.
    CleanupException.objects.bulk_create(found)


def except_not_backed_up(chunk: CleanupChunk) -> None:
    """Names that are not in the backup, because they expired during it, are never sent."""
    of_range = chunk.stage.entries.filter(index__gte=chunk.first_index, index__lte=chunk.last_index)
    in_backup = GenerationEntry.objects.filter(
        generation=chunk.stage.generation, outcome=GenerationEntry.Outcome.KEPT, name__in=of_range.values("name")
    )
    missing = of_range.exclude(name__in=in_backup.values("name")).values_list("index", "name")
    CleanupException.objects.bulk_create(
        [
            CleanupException(stage=chunk.stage, chunk=chunk, index=index, name=name, outcome=Outcome.EXPIRED)
            for index, name in missing
        ],
        ignore_conflicts=True,
    )


# A stage may have many names, so they stay in the database.
_STOP = """
INSERT INTO backups_cleanupexception (stage_id, index, name, outcome)
SELECT stage_id, index, name, 'stopped' FROM backups_cleanupentry
 WHERE stage_id = %(stage)s AND index > %(last)s
ON CONFLICT (stage_id, index) DO NOTHING
"""


def end_early(stage: CleanupStage, *, by: Person) -> None:
    """End a stopped or failed deletion early: unsent names become leftovers, the sent ones are settled."""
    STAGES.end_early(stage, _leave_the_rest, by=by)


def _leave_the_rest(stage: CleanupStage, _run: Run) -> dict[str, object]:
    """The cursor of a run that settles but sends nothing; the unsent names become leftovers."""
    leave(*stage.chunks.filter(state=CleanupChunk.State.PLANNED))
    # The keys were sent, but this result may be a stale read: they are read again with all other sent names.
    stage.exceptions.filter(outcome=CleanupException.Outcome.ALIVE).delete()
    # Chunks take the names in order: names after the last sent chunk were not sent.
    last = sent(stage).aggregate(last=Max("last_index"))["last"]
    with connection.cursor() as cursor:
        cursor.execute(_STOP, {"stage": stage.pk, "last": -1 if last is None else last})
    return {"phase": "delete", "ending": True}
