"""Verifying a backup: reading it back, on a path that shares no code with the writer.

A new connection, every object downloaded, every entry's digest recomputed. It is compared with the digest of KV's
answer, which is kept in Postgres. One part is read per checkpoint; the first error decides. A verification that passes
keeps the ETag of each object that it read, so that `execution.presence` can tell another object of the same name.

A damaged backup is verified again if a verification that began after the damage was found passes. A verification works
in a run of its own, or within a deletion or restore whose backup was verified more than a day ago.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import archive
from backups.archive import Manifest, ManifestError, Part
from backups.bucket import access as bucket_access
from backups.bucket.store import ObjectInfo, ObjectMissing, Store
from backups.generations import announcements as generation_announcements, encryption
from backups.models import Generation, GenerationEntry, GenerationPart, StoredObject
from kvops import clock, timing
from kvops.refusals import Sentence, Sentence as _
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError
from kvops.wording import Words, columns, counted

Status = Generation.Status
WITHIN = "read_back"
"""The member of another run's cursor that holds the place of a verification within it."""
NOT_WHOLE = gettext_noop("The backup was found damaged or deleted in the meantime. Verify it again.")


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
            raise NotAsWritten(_("The manifest is not the one that was written."))
        document = archive.parse_manifest(data)
        expected = {
            _("environment"): (document.environment, generation.environment.slug),
            _("account"): (document.account_id, generation.environment.account_id),
            _("namespace"): (document.namespace_id, generation.namespace.namespace_id),
            _("bucket"): (document.bucket, generation.bucket),
            _("stem"): (document.stem, generation.stem),
            _("digest root"): (document.digest_root, generation.digest_root),
            _("number of keys"): (document.counts.keys, generation.keys),
            _("number of bytes"): (document.counts.value_bytes, generation.bytes),
            _("list of recipients"): (list(document.recipients), generation.recipients),
            _("key of the digests"): (document.digest_key, generation.digest_key),
        }
        for what, (written, known) in expected.items():
            if written != known:
                raise NotAsWritten(
                    _(
                        "The %(what)s in the manifest is %(written)s, not %(known)s.",
                        what=what,
                        written=written,
                        known=known,
                    )
                )
        if sha256(self._get(document.restore_key)).hexdigest() != document.restore_sha256:
            raise NotAsWritten(_("The recovery steps are not the ones that were written."))
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
            raise NotAsWritten(_("The manifest names part %(number)s, which was never written.", number=number))
        expected = self._expected(row)
        for part in parts:
            lines = self._get(part.digests_key)
            chunks = self._kept(self._open(part.key))
            check = archive.check_part(chunks, lines, part, opened=self._opened, key=self._key)
            if check.problems:
                raise NotAsWritten(Sentence("%(key)s: %(problem)s", key=part.key, problem=check.problems[0]))
            # The object was compared with these lines above, entry by entry.
            for line in archive.read_digests(lines):
                if expected.pop(line.name, None) != line.entry:
                    raise NotAsWritten(_("%(key)s holds an entry that KV did not return.", key=part.key))
        if expected:
            raise NotAsWritten(
                _("Part %(number)s lacks entries that KV returned: %(count)s.", number=number, count=len(expected))
            )
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
            raise NotAsWritten(_("The manifest names other parts than were written."))
        kept = self.generation.entries.filter(outcome=GenerationEntry.Outcome.KEPT).count()
        if kept != document.counts.keys:
            raise NotAsWritten(
                _(
                    "Keys in the manifest: %(counted)s, returned by KV: %(kept)s.",
                    counted=document.counts.keys,
                    kept=kept,
                )
            )


class ReadBack:
    """The work of one step on the verification of a backup, in a run of its own or within another run."""

    def __init__(self, generation: Generation, lease: Lease, store: Store, *, within_another_run: bool = False) -> None:
        self.generation, self.lease, self.within_another_run = generation, lease, within_another_run
        self._seen: list[ObjectInfo] = []
        self.backup = StoredBackup(generation, lambda key: store.open(key, seen=self._seen.append), lease.keep)
        at: Mapping[str, Any] = lease.run.cursor.get(WITHIN, {}) if within_another_run else lease.run.cursor
        since, now = at.get("since", ""), clock.now()
        if not since or (now - datetime.fromisoformat(since)).total_seconds() > timing.VERIFIED_FRESH:
            at = {"next": 1, "since": now.isoformat(), "before": generation.status}  # earlier parts count for a day
        self._at = at

    def step(self) -> bool:
        """Read parts until the step is over; True if the verification is over.

        The last part decides, or the first wrong one.
        """
        try:
            for number, keys in self.backup.compared(self._at["next"]):
                with self._checkpoint(number + 1, keys):
                    self._remember()
                if self.lease.tired:
                    return False
        except WRONG as problem:
            self._finish(Status.DAMAGED, problem)
        else:
            self._finish(Status.VERIFIED, "")
        return True

    def _checkpoint(self, following: int, keys: int) -> AbstractContextManager[None]:
        place = {**self._at, "next": following}
        note = counted(gettext_noop("Part %(n)s is as written."), following - 1)
        if self.within_another_run:
            return self.lease.checkpoint(cursor={**self.lease.run.cursor, WITHIN: place}, note=note)
        return self.lease.checkpoint(cursor=place, done=self.lease.run.done + keys, note=note)

    def _remember(self) -> None:
        """Keep the store's description of each object that was just read, unless it is known already."""
        found = StoredObject.objects.filter(
            environment=self.generation.environment_id,
            key__in=[info.key for info in self._seen],
            generation=self.generation,
            status=StoredObject.Status.KNOWN,
        )
        known = {key: (size, etag) for key, size, etag in found.values_list("key", "written_size", "written_etag")}
        new = {info.key: info for info in self._seen if known.get(info.key) != (info.size, info.etag)}
        bucket_access.remember(self.generation, new.values())
        self._seen.clear()

    def _finish(self, status: Status, words: Words) -> None:
        generation, stored = self.generation, columns("problem", words)
        problem = stored["problem"]
        cursor = {name: value for name, value in self.lease.run.cursor.items() if name != WITHIN}
        result = {"generation": generation.pk, "status": status.value, "problem": problem}
        outcome = Done(result, {"problem_sentence": stored["problem_sentence"]} if problem else {})
        with self.lease.checkpoint(None if self.within_another_run else outcome, cursor=cursor, note=""):
            before = Generation.objects.select_for_update(no_key=True).get(pk=generation.pk).status
            # A damage that was found after this verification began may be in a part that it read before.
            began_damaged = (before, self._at["before"]) == (Status.DAMAGED, Status.DAMAGED)
            if before not in {Status.COMPLETE, Status.VERIFIED} and not began_damaged:
                raise RunError("not_whole", NOT_WHOLE)
            verified = {"verified_at": Now()} if status == Status.VERIFIED else {}
            Generation.objects.filter(pk=generation.pk).update(status=status, **stored, **verified)
            if status == Status.VERIFIED:
                self._remember()
            elif before != Status.DAMAGED:
                generation.problem, generation.problem_sentence = problem, stored["problem_sentence"]
                generation_announcements.damaged(generation, found_by=self.lease.run)
            log.record(
                Action.GENERATION_VERIFIED if status == Status.VERIFIED else Action.GENERATION_DAMAGED,
                actor=self.lease.actor,
                **generation.audited,
                digest=generation.manifest_sha256,
                details={"keys": generation.keys, "problem": problem, **_healed(before, status)},
            )


def _healed(before: str, after: str) -> dict[str, JSON]:
    """The earlier status of a damaged backup that was verified again, for the audit entry."""
    return {"before": before} if (before, after) == (Status.DAMAGED, Status.VERIFIED) else {}
