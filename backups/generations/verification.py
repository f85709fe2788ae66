"""Verifying a backup: reading it back, on a path that shares no code with the writer.

A new connection, every object downloaded, every entry's digest recomputed. It is compared with the digest of KV's
answer, which is kept in Postgres. One part is read per checkpoint; the first error decides.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from backups import archive
from backups.archive import Manifest, ManifestError, Part
from backups.bucket.store import ObjectMissing, Store
from backups.generations import encryption
from backups.models import Generation, GenerationEntry, GenerationPart
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError

Status = Generation.Status


class NotAsWritten(Exception):
    """The stored backup differs from the written one; the message is one sentence."""


WRONG = (NotAsWritten, ManifestError, ObjectMissing)
"""Errors that prove the stored backup unusable."""


class StoredBackup:
    """A backup in a store that can `open` its objects; `keep` is called between their chunks.

    Raises RunError if the backup is encrypted and this process cannot open it: that proves nothing about the backup.
    """

    def __init__(
        self, generation: Generation, open_: Callable[[str], Iterator[bytes]], keep: Callable[[], None]
    ) -> None:
        self.generation, self._open, self._keep = generation, open_, keep
        self._opened, self._key = encryption.opener(generation), encryption.digest_key(generation)

    def compared(self, number: int = 1) -> Iterator[tuple[int, int]]:
        """Compare the parts from `number` on, then the whole: the number and entries of each part.

        Raises one of WRONG.
        """
        document = self._document()
        while parts := [part for part in document.parts if part.number == number]:
            yield number, self._part(number, parts)
            number += 1
        self._insist_complete(document)

    def _document(self) -> Manifest:
        generation = self.generation
        data = self._get(generation.manifest_key)
        if sha256(data).hexdigest() != generation.manifest_sha256:
            raise NotAsWritten("The manifest is not the one that was written.")
        document = archive.parse_manifest(data)
        expected = {
            "environment": (document.environment, generation.environment.slug),
            "account": (document.account_id, generation.environment.account_id),
            "namespace": (document.namespace_id, generation.namespace.namespace_id),
            "bucket": (document.bucket, generation.bucket),
            "stem": (document.stem, generation.stem),
            "digest root": (document.digest_root, generation.digest_root),
            "number of keys": (document.counts.keys, generation.keys),
            "number of bytes": (document.counts.value_bytes, generation.bytes),
            "list of recipients": (list(document.recipients), generation.recipients),
            "key of the digests": (document.digest_key, generation.digest_key),
        }
        for what, (written, known) in expected.items():
            if written != known:
                raise NotAsWritten(f"The {what} in the manifest is {written}, not {known}.")
        if sha256(self._get(document.restore_key)).hexdigest() != document.restore_sha256:
            raise NotAsWritten("The recovery steps are not the ones that were written.")
        return document

    def _get(self, key: str) -> bytes:
        return b"".join(self._kept(self._open(key)))

    def _kept(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks; the lease is kept between them."""
        for chunk in chunks:
            self._keep()
            yield chunk

    def _part(self, number: int, parts: list[Part]) -> int:
        """Read the objects of one part and return the number of entries. Raises NotAsWritten."""
        row = GenerationPart.objects.filter(generation=self.generation, number=number).first()
        if row is None:
            raise NotAsWritten(f"The manifest names part {number}, which was never written.")
        expected = self._expected(row)
        for part in parts:
            lines = self._get(part.digests_key)
            chunks = self._kept(self._open(part.key))
            check = archive.check_part(chunks, lines, part, opened=self._opened, key=self._key)
            if check.problems:
                raise NotAsWritten(f"{part.key}: {check.problems[0]}")
            # The object was compared with these lines above, entry by entry.
            for line in archive.read_digests(lines):
                if expected.pop(line.name, None) != line.entry:
                    raise NotAsWritten(f"{part.key} holds an entry that KV did not return.")
        if expected:
            raise NotAsWritten(f"Part {number} lacks {len(expected)} entries that KV returned.")
        return sum(part.keys for part in parts)

    def _expected(self, row: GenerationPart) -> dict[str, str]:
        """For the names of a part, the digest of the name with the digest of the entry in KV's answer."""
        entries = self.generation.entries.filter(
            outcome=GenerationEntry.Outcome.KEPT, index__gte=row.first_index, index__lte=row.last_index
        )
        return {
            archive.hashed(name.encode(), self._key).hex(): bytes(digest or b"").hex()
            for name, digest in entries.values_list("name", "digest").iterator(2_000)
        }

    def _insist_complete(self, document: Manifest) -> None:
        numbers = {part.number for part in document.parts}
        if set(self.generation.parts.values_list("number", flat=True)) != numbers:
            raise NotAsWritten("The manifest names other parts than were written.")
        kept = self.generation.entries.filter(outcome=GenerationEntry.Outcome.KEPT).count()
        if kept != document.counts.keys:
            raise NotAsWritten(f"The manifest counts {document.counts.keys} keys, KV returned {kept}.")


class ReadBack:
    """The work of one step on the verification of a backup."""

    def __init__(self, generation: Generation, lease: Lease, store: Store) -> None:
        self.generation, self.lease = generation, lease
        self.backup = StoredBackup(generation, store.open, lease.keep)

    def step(self) -> Again | None:
        """Read parts until the step is over. The last part decides, or the first wrong one."""
        try:
            for number, keys in self.backup.compared(self.lease.run.cursor.get("next", 1)):
                with self.lease.checkpoint(
                    cursor={"next": number + 1}, done=self.lease.run.done + keys, note=f"Part {number} is as written"
                ):
                    pass
                if self.lease.tired:
                    return Again()
        except WRONG as problem:
            self._finish(Status.DAMAGED, str(problem)[:1000])
        else:
            self._finish(Status.VERIFIED, "")
        return None

    def _finish(self, status: Status, problem: str) -> None:
        generation = self.generation
        outcome = Done({"generation": generation.pk, "status": status.value, "problem": problem})
        with self.lease.checkpoint(outcome, note=""):
            changed = (
                Generation.objects.whole()
                .filter(pk=generation.pk)
                .update(
                    status=status,
                    problem=problem,
                    verified_at=Now() if status == Status.VERIFIED else generation.verified_at,
                )
            )
            if changed != 1:
                raise RunError("not_whole", gettext_noop("The backup was found damaged in the meantime."))
            log.record(
                Action.GENERATION_VERIFIED if status == Status.VERIFIED else Action.GENERATION_DAMAGED,
                actor=self.lease.actor,
                **generation.audited,
                digest=generation.manifest_sha256,
                details={"keys": generation.keys, "problem": problem},
            )
