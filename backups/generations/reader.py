"""Values out of a backup, in the order of their names. A part is streamed; only an encrypted part is held in memory.

Every entry is compared, by its digest, with KV's answer when the backup was made, before a caller gets it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from types import TracebackType
from typing import Self

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups import archive
from backups.bucket.store import ObjectMissing, Store
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import Generation, GenerationEntry, GenerationPart, Restore
from kvops.cloudflare import KvEntry
from kvops.runs.outcomes import RunError
from kvops.wording import say


@dataclass(frozen=True)
class Wanted:
    """One name of a restore; `source` is its index in the backup, `size` the size of its value there."""

    index: int
    name: str
    size: int
    found: str
    outcome: str
    source: int
    digest: bytes


def wanted(restore: Restore, indexes: Sequence[int]) -> list[Wanted]:
    """The entries at these indexes, in order, with their digests in the backup."""
    rows = restore.entries.filter(index__in=indexes).order_by("index")
    found = list(rows.values_list("index", "name", "size", "found", "outcome"))
    entries = GenerationEntry.objects.filter(
        generation=restore.generation_id, name__in=[row[1] for row in found], outcome=GenerationEntry.Outcome.KEPT
    )
    known = {
        name: (source, bytes(value or b"")) for name, source, value in entries.values_list("name", "index", "digest")
    }
    if len(known) != len(found):
        raise RunError("wrong_set", gettext_noop("A key of the restore is not in its backup."))
    return [Wanted(*row, *known[row[1]]) for row in found]


class GenerationReader:
    """The entries of a backup, as a context manager. `keep` is called between the chunks of an object.

    Raises RunError if the backup is encrypted and this process cannot open it.
    """

    def __init__(self, generation: Generation, store: Store, keep: Callable[[], None]) -> None:
        self._parts = list(generation.parts.order_by("first_index"))
        self._store, self._keep = store, keep
        self._opened, self._key = encryption.opener(generation), encryption.digest_key(generation)
        self._part: GenerationPart | None = None
        self._open: list[Iterator[bytes]] = []
        self._entries: Iterator[KvEntry] = iter(())
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def take(self, one: Wanted) -> KvEntry:
        """The entry of this name. Names asked for in order need one pass; an earlier name starts its part again.

        Raises StoreError, and RunError if the entry in the backup differs from KV's answer.
        """
        part = next((part for part in self._parts if part.first_index <= one.source <= part.last_index), None)
        if part is None:
            raise self._damaged(one)
        if part != self._part or one.name <= self._last:
            self._begin(part)
        try:
            for entry in self._entries:
                self._last = entry.name
                if entry.name >= one.name:
                    break
            else:
                raise self._damaged(one)
        except (archive.Damaged, ObjectMissing) as problem:
            sentence = _("The backup cannot be read: %(problem)s Verify it again.")
            raise RunError("backup_damaged", say(sentence, problem=problem)) from problem
        if entry.name != one.name or entry_digest(entry, self._key) != one.digest:
            raise self._damaged(one)
        return entry

    def _begin(self, part: GenerationPart) -> None:
        self._close()
        self._part = part
        keys = [key for key in (part.object_key, part.api_only_key) if key]
        self._open = [self._chunks(key) for key in keys]
        opened = [archive.read_entries(self._opened(chunks)) for chunks in self._open]
        self._entries = merge(*opened, key=lambda entry: entry.name)

    def _chunks(self, key: str) -> Iterator[bytes]:
        chunks = self._store.open(key)
        try:
            for chunk in chunks:
                self._keep()
                yield chunk
        finally:
            chunks.close()  # type: ignore[attr-defined]  # a generator

    def _close(self) -> None:
        self._entries, self._last = iter(()), ""
        for chunks in self._open:
            chunks.close()  # type: ignore[attr-defined]  # a generator
        self._open = []

    def _damaged(self, one: Wanted) -> RunError:
        key = self._part.object_key if self._part else _("the backup")
        sentence = _("%(key)s does not hold %(name)s as KV returned it. Verify the backup again.")
        return RunError("backup_damaged", say(sentence, key=key, name=repr(one.name)))
