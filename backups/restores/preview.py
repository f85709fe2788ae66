"""The comparison before a restore is submitted: every name in the backup against KV, read only."""

from collections import Counter
from collections.abc import Iterator, Sequence

from django.db import connection
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from backups import archive
from backups.bucket import access as bucket_access
from backups.execution.live_values import difference, too_late
from backups.generations import encryption
from backups.generations.kv_reader import KvReader, Name
from backups.generations.reader import GenerationReader, Wanted, wanted
from backups.models import Restore, RestoreEntry
from kvops import clock
from kvops.cloudflare import KvEntry
from kvops.inventory.families import Families
from kvops.models import Read
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, Stopped
from kvops.wording import counted

BLOCK = 500
EXACT_BLOCK = 100
"""Names compared per checkpoint if they are read exactly, with two requests each."""

Found = RestoreEntry.Found


def preview(lease: Lease) -> Again | None:
    """One step of a comparison; the last step makes the restore ready to submit."""
    restore = Restore.objects.select_related("environment", "namespace", "generation__environment").get(
        preview_run=lease.run
    )
    size = EXACT_BLOCK if restore.generation.read == Read.EXACT else BLOCK
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store_of(restore.generation) as store,
        KvReader(restore.environment, lease.keep, sparing=True) as reader,
        GenerationReader(restore.generation, store, lease.keep) as backup,
    ):
        comparison, before = _PreviewComparison(restore, reader, backup), lease.run.calls
        first = int(lease.run.cursor.get("next", 0))
        while first < restore.names:
            if not Restore.objects.filter(pk=restore.pk, state=Restore.State.PREPARING).exists():
                raise Stopped  # cancelled meanwhile
            block = wanted(restore, range(first, min(first + size, restore.names)))
            found = list(comparison.of(block))
            first += len(block)
            calls = before + reader.client.calls
            note = counted(gettext_noop("Keys compared: %(n)s of %(total)s."), first, restore.names)
            with lease.checkpoint(cursor={"next": first}, done=first, calls=calls, note=note):
                _keep(restore, found)
            if lease.tired:
                return Again()
    _finish(restore, lease)
    return None


class _PreviewComparison:
    """Compares the names of a restore with KV."""

    def __init__(self, restore: Restore, reader: KvReader, backup: GenerationReader) -> None:
        self._restore, self._reader, self._reader_of_backup = restore, reader, backup
        self._families = Families.of(restore.namespace.binding)

    def of(self, block: Sequence[Wanted]) -> Iterator[tuple[int, RestoreEntry.Found]]:
        """Each index of the block with the result of its comparison."""
        names = iter([Name(one.index, one.name, None) for one in block])
        live = self._reader.values(self._restore.namespace.namespace_id, names, self._restore.generation.read)
        now = clock.now().timestamp()
        for one, (_, entry) in zip(block, live, strict=True):
            unreadable = one.name in self._reader.refused
            yield one.index, Found.UNREADABLE if unreadable else self._one(self._reader_of_backup.take(one), entry, now)

    def _one(self, backup: KvEntry, live: KvEntry | None, now: float) -> RestoreEntry.Found:
        found = difference(backup, live)
        if found is Found.EQUAL:
            return found
        if late := too_late(backup, now):
            return late
        overwrites = self._restore.on_conflict == Restore.OnConflict.OVERWRITE
        if overwrites and found in RestoreEntry.CONFLICTS and cannot_be_backed_up(self._families, backup.name):
            return Found.SENSITIVE
        return found


def cannot_be_backed_up(families: Families, name: str) -> bool:
    """Whether the key's current value cannot be backed up first: it needs encryption, which is not set up."""
    return not encryption.possible() and encryption.needed(families.family(name))


def _keep(restore: Restore, found: Sequence[tuple[int, RestoreEntry.Found]]) -> None:
    """Record the results in one statement."""
    indexes, kinds = [index for index, _ in found], [kind.value for _, kind in found]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE backups_restoreentry AS entry SET found = f.found"
            " FROM unnest(%s::bigint[], %s::text[]) AS f(index, found)"
            " WHERE entry.restore_id = %s AND entry.index = f.index",
            [indexes, kinds, restore.pk],
        )


def _finish(restore: Restore, lease: Lease) -> None:
    counts = Counter(dict(restore.entries.values_list("found").annotate(n=Count("pk"))))
    overwritten = conflicting(restore) if restore.on_conflict == Restore.OnConflict.OVERWRITE else None
    values: dict[str, object] = {
        "found": dict(counts),
        "compared_at": Now(),
        "overwritten": overwritten.count() if overwritten is not None else 0,
        "overwritten_sha256": archive.names_sha256(overwritten.iterator(10_000)) if overwritten is not None else "",
    }
    with lease.checkpoint(Done(dict(counts)), note=""):
        changed = Restore.objects.filter(pk=restore.pk, state=Restore.State.PREPARING).update(
            state=Restore.State.PREPARED, **values
        )
        if changed:  # a cancelled restore is not made ready
            log.record(
                Action.RESTORE_COMPARED,
                actor=lease.actor,
                environment=restore.environment.slug,
                subject=f"restore:{restore.pk}",
                subject_label=str(restore),
                digest=restore.names_sha256,
                details=dict(counts),
            )


def conflicting(restore: Restore) -> QuerySet[RestoreEntry, str]:
    """The names that existed and differed, in the order of their bytes."""
    entries = restore.entries.filter(found__in=RestoreEntry.CONFLICTS)
    return entries.order_by("index").values_list("name", flat=True)
