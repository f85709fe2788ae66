"""How a backup is written: names frozen, a sample read both ways, part after part, the manifest last.

Each phase leaves its place in the run's cursor, committed together with its effect, so any worker can continue from
there. A part is read from KV, stored, and only then committed. After a crash between the two it is read again. If its
values changed meanwhile, or it is encrypted anew, the object of that name belongs to the crashed attempt. The part is
then stored under the next attempt's name (`<stem>.try-2.json`), which the manifest names; the earlier object stays as
an orphan. Only in that case: any other object with a part's name is a hard stop. The times and the head of the audit
log in the manifest are committed before it is stored, so storing it again stores the same bytes. Each object is noted
with the store's own size, ETag and time.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from hashlib import sha256
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from audit.models import Head
from backups import archive
from backups.bucket import access as bucket_access, newest_manifest, protection as bucket_protection
from backups.bucket.store import ObjectConflict
from backups.generations import encryption, recovery
from backups.generations.freeze import Freezing
from backups.generations.kv_reader import KvReader, Name
from backups.models import Generation, GenerationEntry, GenerationPart
from kvops import clock, rollback, timing
from kvops.cloudflare import CloudflareError, KvEntry, RateLimited
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped, TryLater
from kvops.wording import columns, counted, say

NAMES = 1_000
"""Frozen names per query."""

Outcome = GenerationEntry.Outcome
Status = Generation.Status

type Found = tuple[int, GenerationEntry.Outcome, bytes | None, int | None, bytes | None]
"""The result for one name: its index, the outcome, digest and size of its entry, and its digest by an older key."""


class Export(Freezing):
    """The work of one step on a backup."""

    _ahead: Iterator[tuple[Name, KvEntry | None]] | None = None
    _over: Sequence[tuple[Name, KvEntry]] = ()
    """Entries that were read last and did not fit into their part."""
    _part_end = 0

    def step(self) -> Again | None:
        """Work until the step is over or the backup is finished."""
        phases = {"list": self.list_names, "sample": self.sample, "parts": self.part, "close": self.close}
        try:
            with bucket_access.errors_for_a_run():
                while not self.lease.over:
                    phases[self.lease.run.cursor.get("phase", "list")]()
                    if self.lease.tired and not self.lease.over:
                        self._keep_what_was_read()
                        return Again()
        except (CloudflareError, TryLater):
            self.lease.renew(calls=self.lease.run.calls + self.new_calls())
            raise
        return None

    def _keep_what_was_read(self) -> None:
        """At the end of a step, store the entries read ahead as a part, so that no request is wasted."""
        if self._ahead is not None and self.lease.run.cursor["phase"] == "parts":
            self.reader.dry_up()
            self.part()

    @cached_property
    def _key(self) -> bytes | None:
        """The key of the digests, once the encryption of the backup is decided."""
        return encryption.digest_key(self.generation)

    @cached_property
    def _older_key(self) -> bytes | None:
        named = self.generation.older_digest_key
        return encryption.known_digest_key(named) if named else None

    def _by_older_key(self, entry: KvEntry) -> bytes | None:
        """The digest by the key before a rotation; None for another backup than the first after it."""
        return entry_digest(entry, self._older_key) if self._older_key else None

    def part(self) -> None:
        """Read, store and commit one part; after the last part comes the manifest."""
        at = self.lease.run.cursor
        if at["next"] >= (self.lease.run.total or 0) and at["number"] > 1:
            self._begin_to_close()
            return
        writer = archive.PartWriter(self._key)
        found, limited = self._read(at["next"], writer)
        if not found and at["number"] > 1:
            return
        stored = self._store(at, writer)
        del writer  # the largest thing in memory
        self._commit(at, stored, found)
        if limited:
            raise limited

    def _read(self, first: int, writer: archive.PartWriter) -> tuple[list[Found], RateLimited | None]:
        """Entries up to the size of a part, and the request limit if it ended the part."""
        found: list[Found] = []
        until = time.monotonic() + timing.PART
        self._part_end = first + archive.MAX_KEYS
        try:
            for name, entry in self._entries(first):
                if entry is None:
                    refused = name.name in self.reader.refused
                    found.append((name.index, Outcome.UNREADABLE if refused else gone(name), None, None, None))
                elif kept := writer.add(entry):
                    found.append((name.index, Outcome.KEPT, kept, len(entry.data), self._by_older_key(entry)))
                else:
                    self._over = [(name, entry)]
                    break
                if len(found) == archive.MAX_KEYS or time.monotonic() > until:
                    break
        except RateLimited as limited:
            if found:  # commit these entries, so that a small request budget still makes progress
                return found, limited
            raise
        except archive.BadEntry as bad:
            raise RunError("bad_entry", bad) from bad
        return found, None

    def _entries(self, first: int) -> Iterator[tuple[Name, KvEntry | None]]:
        """The entries from an index on. Reading continues while a part is stored and committed."""
        if self._ahead is None:
            self._ahead = self._from(first)
        over, self._over = self._over, ()
        return chain(iter(over), self._ahead)  # an iterator releases its list

    def _from(self, first: int) -> Iterator[tuple[Name, KvEntry | None]]:
        """All entries from an index on."""
        return self.reader.values(self.namespace_id, self._names(first), self.generation.read)

    def _names(self, first: int) -> Iterator[Name]:
        """The frozen names from an index on, page by page. If the step ends with this part, no further page is read."""
        entries = self.generation.entries.order_by("index").values_list("index", "name", "expiration")
        while page := entries.filter(index__gte=first)[:NAMES]:
            for row in page:
                if self.lease.tired and row[0] >= self._part_end:
                    return
                yield Name(*row)
            first += NAMES

    def _store(self, at: dict[str, Any], writer: archive.PartWriter) -> list[archive.Part]:
        """Put the part's objects; the module's docstring describes the case of a name already in use."""
        objects = writer.finish(self.generation.stem, at["number"], self.generation.recipients)
        self._written.clear()
        attempt = at["attempt"]
        while True:
            named = [each.at_attempt(self.generation.stem, attempt) for each in objects]
            self.lease.renew(cursor={**at, "storing": True, "attempt": attempt})
            try:
                for each in named:
                    self._put(each.part.key, each.body, "application/octet-stream" if self._key else "application/json")
                    self._put(each.part.digests_key, each.digests, "text/plain")
            except ObjectConflict:
                if not at.get("storing"):
                    raise
                attempt += 1
                self._written.clear()
            else:
                return [each.part for each in named]

    def _put(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        if why := rollback.why_read_only():
            raise Stopped(rollback.CODE, why)
        with self.lease.fence():
            info = self.reader.run(lambda: self.store.put(key, body, content_type=content_type))
        self._written.append(info)

    def _commit(self, at: dict[str, Any], stored: list[archive.Part], found: list[Found]) -> None:
        following = at["next"] + len(found)
        cursor = {**at, "next": following, "number": at["number"] + 1, "attempt": 1, "storing": False}
        count = Counter(row[1] for row in found)
        with self.checkpoint(
            cursor,
            done=following,
            note=counted(gettext_noop("Keys backed up: %(n)s of %(total)s."), following, self.lease.run.total or 0),
        ):
            part_row(self.generation, stored, at["next"], following - 1).save()
            settle(self.generation, found)
            bucket_access.remember(self.generation, self._written)
            self.update(
                keys=F("keys") + count[Outcome.KEPT],
                bytes=F("bytes") + sum(part.value_bytes for part in stored),
                expired=F("expired") + count[Outcome.EXPIRED],
                vanished=F("vanished") + count[Outcome.VANISHED] + count[Outcome.UNREADABLE],
                calls=self.lease.run.calls,
                # If the older key went meanwhile, not all entries have a digest by it.
                older_digest_key=self.generation.older_digest_key if self._older_key else "",
            )

    def _begin_to_close(self) -> None:
        head = Head.objects.get()
        closing = {"finished_at": clock.now().isoformat(), "sequence": head.seq, "hash": bytes(head.hash).hex()}
        with self.checkpoint(
            {"phase": "close", **closing, "version": settings.VERSION}, note=gettext_noop("Writing the manifest")
        ):
            pass

    def close(self) -> None:
        """Store the recovery steps and the manifest, and finish the backup.

        A check for a rollback of the database comes first: this manifest becomes the newest, and later checks read only
        that.
        """
        newest_manifest.compare_newest_manifest(self.generation.environment, self.lease.keep)
        document, notes = archive.with_restore_notes(recovery.document(self.generation, self.lease.run.cursor))
        body = document.to_json()
        self._written.clear()
        self._put(document.restore_key, notes, "text/markdown; charset=utf-8")
        self._put(document.key, body)
        status = Status.PARTIAL if document.counts.vanished else Status.COMPLETE
        sha = sha256(body).hexdigest()
        result = self._result(status)
        with self.checkpoint(self.lease.run.cursor, Done(result), note=""):
            self.update(
                status=status,
                manifest_key=document.key,
                manifest_sha256=sha,
                digest_root=document.digest_root,
                finished_at=document.finished_at,
                **columns("problem", _missing(document.counts.vanished, self.generation)),
            )
            bucket_access.remember(self.generation, self._written)
            log.record(
                Action.GENERATION_PARTIAL if status == Status.PARTIAL else Action.GENERATION_COMPLETED,
                actor=self.lease.actor,
                **self.generation.audited,
                digest=sha,
                details=result,
            )

    def _result(self, status: Generation.Status) -> dict[str, JSON]:
        generation = self.generation
        return {
            "generation": generation.pk,
            "status": status.value,
            "keys": generation.keys,
            "expired": generation.expired,
            "vanished": generation.vanished,
        }


def entry_digest(entry: KvEntry, key: bytes | None) -> bytes:
    """The digest of an entry of KV's answer; `key` is None if the backup is not encrypted."""
    return archive.entry_digest(entry.name, archive.hashed(entry.data, key), entry.metadata, entry.expiration, key)


def gone(name: Name) -> Outcome:
    """The reason why a listed key has no value: it expired by the database's clock, or it vanished."""
    over = name.expiration is not None and name.expiration <= clock.now().timestamp()
    return Outcome.EXPIRED if over else Outcome.VANISHED


def _missing(vanished: int, generation: Generation) -> str:
    if not vanished:
        return ""
    said = _("Listed keys that are not in the backup: %(keys)s. They vanished, or their names cannot be stored.")
    unreadable = generation.entries.filter(outcome=Outcome.UNREADABLE)
    if not (count := unreadable.count()):
        return say(said, keys=vanished)
    said = _(
        "Listed keys that are not in the backup: %(keys)s. Of these, unreadable: %(count)s. Such a value must "
        "be read singly, and Cloudflare refuses a request with such a name in its address, as %(name)s."
    )
    return say(said, keys=vanished, count=count, name=repr(unreadable[0].name))


def export(lease: Lease) -> Again | None:
    """Do a step of a backup; see `backups.generations.export`."""
    return step_of(lease, Export)


def step_of(lease: Lease, work: type[Export]) -> Again | None:
    """Do a step of the work that writes the backup of the run."""
    generation = Generation.objects.select_related("environment", "namespace").get(run=lease.run)
    if not lease.run.cursor:
        bucket_protection.ask_cloudflare(generation.environment, lease.keep)
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store_of(generation) as store,
        KvReader(generation.environment, lease.keep, sparing=True) as reader,
    ):
        return work(generation, lease, reader, store).step()


def part_row(generation: Generation, stored: list[archive.Part], first: int, last: int) -> GenerationPart:
    """The row of a part that was stored: one data object, and its api-only sibling if there is one."""
    plain, sibling = stored[0], stored[1] if len(stored) > 1 else None
    return GenerationPart(
        generation=generation,
        number=plain.number,
        object_key=plain.key,
        sha256=plain.sha256,
        size=plain.size,
        keys=plain.keys,
        digest_root=plain.digest_root,
        digests_key=plain.digests_key,
        digests_sha256=plain.digests_sha256,
        api_only_key=sibling.key if sibling else "",
        api_only_sha256=sibling.sha256 if sibling else "",
        api_only_keys=sibling.keys if sibling else 0,
        first_index=first,
        last_index=last,
        stored=[asdict(part) for part in stored],
    )


def settle(generation: Generation, found: list[Found]) -> None:
    """Record the results for the names of a part in one statement."""
    columns = [list(column) for column in zip(*found, strict=True)] or [[], [], [], [], []]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE backups_generationentry AS entry SET outcome = f.outcome, digest = f.digest, size = f.size,"
            " older_digest = f.older FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::bytea[])"
            " AS f(index, outcome, digest, size, older)"
            " WHERE entry.generation_id = %s AND entry.index = f.index",
            [*columns, generation.pk],
        )
