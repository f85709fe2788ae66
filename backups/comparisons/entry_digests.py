"""The digests beside a backup's parts: value, metadata and expiration apart, without a value.

A comparison reads them only for names that differ. One part's lines are held at a time. A line counts only if its
entry's digest is the one kept in Postgres.
"""

from django.utils.translation import gettext_lazy as _

from backups import archive
from backups.archive import EntryDigests
from backups.bucket import access as bucket_access
from backups.bucket.store import ObjectMissing, Store
from backups.models import Generation, GenerationPart
from kvops.runs.outcomes import RunError
from kvops.wording import say


class Marks:
    """The stored digests of a backup's entries. If asked for in the order of the entries, each part is read once."""

    def __init__(self, generation: Generation, store: Store) -> None:
        self._parts = list(generation.parts.order_by("first_index"))
        self._store = store
        self._part: GenerationPart | None = None
        self._lines: dict[bytes, EntryDigests] = {}

    def of(self, index: int, digest: bytes) -> EntryDigests:
        """The digests of the entry at this index. Raises StoreError, and RunError if the bucket does not hold them."""
        part = next((part for part in self._parts if part.first_index <= index <= part.last_index), None)
        if part is None:
            raise RunError("backup_damaged", _("The backup has no part with this entry. Verify the backup again."))
        if part != self._part:
            self._part, self._lines = part, self._read(part)
        found = self._lines.get(digest)
        if found is None:
            sentence = _("The digests beside %(key)s are not those of the backup. Verify the backup again.")
            raise RunError("backup_damaged", say(sentence, key=part.object_key))
        return found

    def _read(self, part: GenerationPart) -> dict[bytes, EntryDigests]:
        bucket_access.insist_here(part.generation)
        lines: dict[bytes, EntryDigests] = {}
        for stored in part.stored:
            try:
                for line in archive.read_digests(self._store.get(stored["digests_key"])):
                    lines[bytes.fromhex(line.entry)] = line
            except (archive.Damaged, ObjectMissing) as problem:
                sentence = _("The digests of the backup cannot be read: %(problem)s Verify it again.")
                raise RunError("backup_damaged", say(sentence, problem=problem)) from problem
        return lines
