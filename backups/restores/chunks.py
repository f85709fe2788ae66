"""The chunks of a restore: ranges of names, the names each may write, and their recorded outcome.

A chunk has at most 1,000 keys and 20 MiB.
"""

from collections.abc import Mapping

from django.db import connection
from django.db.models.functions import Now

from audit.actions import Action
from backups import archive
from backups.generations.reader import Wanted, wanted
from backups.models import Restore, RestoreChunk, RestoreEntry
from backups.restores.moves import record_restore
from kvops.models import Read
from kvops.runs.lease import Lease

State = RestoreChunk.State
Outcome = RestoreEntry.Outcome
Compared = RestoreEntry.Compared
CHUNK = 1000
CHUNK_BYTES = 20 * 1024 * 1024
EXACT_CHUNK = 50
"""Names per chunk if each current value takes two requests."""

TRIES = 3


def next_restore_chunk(restore: Restore) -> RestoreChunk | None:
    """The next range of names, None at the end: at most 1,000 keys and 20 MiB of values; a larger value goes alone."""
    newest = restore.chunks.order_by("-last_index").first()
    first = newest.last_index + 1 if newest else 0
    if first >= restore.names:
        return None
    limit = EXACT_CHUNK if restore.generation.read == Read.EXACT else CHUNK
    sizes = (
        restore.entries.filter(index__gte=first, index__lt=first + limit).order_by("index").values_list("index", "size")
    )
    last, total = first - 1, 0
    for index, size in sizes:
        total += size
        if total > CHUNK_BYTES and last >= first:
            break
        last = index
    return _create(restore, first, last)


def halve(chunk: RestoreChunk) -> None:
    """Replace a planned chunk by two halves, within the caller's transaction."""
    leave(chunk)
    halves(chunk)


def halves(chunk: RestoreChunk) -> None:
    """Plan the two halves of a chunk's range, within the caller's transaction."""
    middle = (chunk.first_index + chunk.last_index) // 2
    for first, last in (chunk.first_index, middle), (middle + 1, chunk.last_index):
        _create(chunk.restore, first, last, attempt=chunk.attempt)


def leave(chunk: RestoreChunk) -> None:
    """Settle a planned chunk without writing."""
    RestoreChunk.objects.filter(pk=chunk.pk, state=State.PLANNED).update(
        state=State.SETTLED, settled_at=Now(), names_sha256=archive.names_sha256([])
    )


def repeat_chunk(chunk: RestoreChunk, *, attempt: int) -> None:
    """Plan a new chunk of the same range, within the caller's transaction."""
    _create(chunk.restore, chunk.first_index, chunk.last_index, attempt=attempt)


def _create(restore: Restore, first: int, last: int, *, attempt: int = 1) -> RestoreChunk:
    return RestoreChunk.objects.create(
        restore=restore, number=restore.chunks.count() + 1, attempt=attempt, first_index=first, last_index=last
    )


def names_of(chunk: RestoreChunk) -> list[Wanted]:
    """The names the chunk may write: names without a result, or, in a later attempt, names found missing."""
    outcome = Outcome.PLANNED if chunk.attempt == 1 else Outcome.AGAIN
    return of_range(chunk, outcome)


def of_range(chunk: RestoreChunk, *outcomes: RestoreEntry.Outcome) -> list[Wanted]:
    """The names of the chunk's range with these outcomes and without a comparison after the write, in order."""
    entries = chunk.restore.entries.filter(
        index__gte=chunk.first_index, index__lte=chunk.last_index, outcome__in=outcomes, compared=Compared.UNKNOWN
    )
    return wanted(chunk.restore, list(entries.order_by("index").values_list("index", flat=True)))


type NameResult = tuple[RestoreEntry.Outcome, RestoreEntry.Compared]
"""The outcome of a name, and its comparison with the backup."""


def keep(restore: Restore, results: Mapping[int, NameResult]) -> None:
    """Record the results of names, by index, in one statement within the caller's transaction."""
    outcomes = [outcome.value for outcome, _ in results.values()]
    compared = [how.value for _, how in results.values()]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE backups_restoreentry AS entry SET outcome = f.outcome, compared = f.compared"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS f(index, outcome, compared)"
            " WHERE entry.restore_id = %s AND entry.index = f.index",
            [list(results), outcomes, compared, restore.pk],
        )


def settled(chunk: RestoreChunk, *, lease: Lease) -> None:
    """Close a chunk, within the caller's checkpoint; a chunk that is still planned is not written any more."""
    if chunk.state == State.PLANNED:
        leave(chunk)
        return
    open_ = RestoreChunk.objects.filter(pk=chunk.pk, state__in=[State.INTENDED, State.SENT])
    open_.update(state=State.SETTLED, settled_at=Now())
    chunk.refresh_from_db(fields=["answer"])
    problem = chunk.answer.get("problem")
    record_restore(
        Action.RESTORE_CHUNK_SETTLED,
        chunk.restore,
        actor=lease.actor,
        digest=chunk.names_sha256,
        details={"chunk": chunk.number, "names": chunk.names, **({"problem": problem} if problem else {})},
    )


WRITTEN = (Outcome.SENT, Outcome.AGAIN, Outcome.WRITTEN, Outcome.DIFFERENT, Outcome.FAILED, Outcome.LOST)
"""Outcomes of sent names. A write that three reads did not show may still become visible. An equal key was not sent."""

_RESTORED = """
SELECT p.name, b.intended_at AS at
  FROM backups_restore r
  JOIN backups_restorechunk b ON b.restore_id = r.id
  JOIN backups_restoreentry p ON p.restore_id = r.id AND p.index BETWEEN b.first_index AND b.last_index
 WHERE r.namespace_id = %(namespace)s AND b.names > 0 AND b.intended_at >= %(since)s
   AND (p.outcome IN ({written}) OR (b.state = '{intended}' AND p.outcome = '{planned}'))"""


def restored_by_us() -> str:
    """SQL: each name of the namespace that a restore or an undo wrote or may have written since then, with the time."""
    written = ", ".join(f"'{outcome}'" for outcome in WRITTEN)
    return _RESTORED.format(written=written, intended=RestoreChunk.State.INTENDED, planned=Outcome.PLANNED)
