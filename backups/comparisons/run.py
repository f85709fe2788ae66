"""The work of a comparison, a stretch of names per checkpoint: memory does not grow with the backups.

Two backups are joined by name in Postgres, where the digests of all entries are. KV is listed and read as for a
backup. Only for names that differ are the digests beside the backups read, a part at a time
(`entry_digests`). They tell apart the value, the metadata and the expiration.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.archive import EntryDigests
from backups.bucket import access as bucket_access
from backups.comparisons.entry_digests import Marks
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.generations.kv_reader import KvReader, Name
from backups.models import Comparison, ComparisonEntry, Generation, GenerationEntry
from kvops import clock, names
from kvops.cloudflare import CursorRefused, KvEntry
from kvops.models import Read
from kvops.prefixes import common
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError
from kvops.wording import counted, say

BLOCK = 5_000
"""Names of either backup per join."""
READ = 500
"""Keys read from KV per checkpoint; a fifth of it if they are read exactly."""
MAX_RESTARTS = 5
_COMPARED = (gettext_noop("Compared %(n)s key"), gettext_noop("Compared %(n)s keys"))

Kind = ComparisonEntry.Kind

_SIDE = (
    "SELECT index, name, digest, size FROM backups_generationentry"
    " WHERE generation_id = %({side})s AND outcome = 'kept' AND name > %(after)s"
    " AND (%(upto)s::text IS NULL OR name <= %(upto)s)"
    " AND (SELECT bool_or(starts_with(name, p)) FROM unnest(%(prefixes)s::text[]) AS p)"
)
_JOIN = f"({_SIDE.format(side='left')}) AS l {{how}} JOIN ({_SIDE.format(side='right')}) AS r ON r.name = l.name"
_UNLIKE = (
    "SELECT l.index, l.name, l.digest, l.size, r.index, r.name, r.digest, r.size"  # noqa: S608  (constants of this module)
    f" FROM {_JOIN.format(how='FULL')} WHERE l.digest IS DISTINCT FROM r.digest ORDER BY coalesce(l.name, r.name)"
)
_EQUAL = f"SELECT count(*) FROM {_JOIN.format(how='INNER')} WHERE l.digest = r.digest"  # noqa: S608


def step(comparison: Comparison, lease: Lease) -> Again | int:
    """Work until the step is over; at the end of the comparison, return the number of equal names."""
    with bucket_access.errors_for_a_run(), ExitStack() as stack:
        marks = Marks(
            comparison.generation, stack.enter_context(bucket_access.store(comparison.generation.environment))
        )
        if comparison.other is None:
            reader = stack.enter_context(KvReader(comparison.namespace.environment, lease.keep))
            return _Live(comparison, lease, marks, reader).step()
        others = Marks(comparison.other, stack.enter_context(bucket_access.store(comparison.other.environment)))
        return _TwoBackups(comparison, lease, marks, others, comparison.other).step()


class _TwoBackups:
    """Two backups, joined by name."""

    def __init__(self, comparison: Comparison, lease: Lease, marks: Marks, others: Marks, other: Generation) -> None:
        self._comparison, self._lease, self._marks, self._others, self._other = comparison, lease, marks, others, other
        self._prefixes = common(comparison.generation.prefixes, other.prefixes)

    def step(self) -> Again | int:
        at: dict[str, Any] = {"after": "", "equal": 0, "over": False, "done": 0} | self._lease.run.cursor
        while not at["over"]:
            if self._lease.tired:
                return Again()
            upto = self._upto(at["after"])
            found, left, equal = self._between(at["after"], upto)
            at |= {"equal": at["equal"] + equal, "done": at["done"] + left}
            at |= {"after": upto or "", "over": upto is None}
            with self._lease.checkpoint(
                cursor=at, done=at["done"], note=counted(gettext_noop("Keys compared: %(n)s."), at["done"])
            ):
                ComparisonEntry.objects.bulk_create(found, batch_size=1_000)
        same: int = at["equal"]
        return same

    def _upto(self, after: str) -> str | None:
        """The end of the next range, with at most a block of names of each backup; None for the last range."""
        ends: list[str] = []
        for backup in (self._comparison.generation_id, self._other.pk):
            entries = GenerationEntry.objects.filter(generation=backup, name__gt=after).order_by("name")
            ends += entries.values_list("name", flat=True)[BLOCK - 1 : BLOCK]
        return min(ends, default=None)

    def _between(self, after: str, upto: str | None) -> tuple[list[ComparisonEntry], int, int]:
        """The differing names in the range, and the numbers of compared and of equal names of the first backup."""
        params: dict[str, Any] = {
            "left": self._comparison.generation_id,
            "right": self._other.pk,
            "after": after,
            "upto": upto,
            "prefixes": self._prefixes,
        }
        with connection.cursor() as cursor:
            cursor.execute(_EQUAL, params)
            equal: int = cursor.fetchone()[0]
            cursor.execute(_UNLIKE, params)
            rows = cursor.fetchall()
        found = [unlike for row in rows if (unlike := self._unlike(row)) is not None]
        return found, equal + sum(row[0] is not None for row in rows), equal

    def _unlike(self, row: Sequence[Any]) -> ComparisonEntry | None:
        """A differing name; None if one of the backups has a list of names that does not include it."""
        index, name, held, size, other_index, other_name, other_held, other_size = row
        mine = self._marks.of(index, bytes(held)) if index is not None else None
        theirs = self._others.of(other_index, bytes(other_held)) if other_index is not None else None
        silent = self._comparison.generation if mine is None else self._other
        if None in (mine, theirs) and silent.purpose in Generation.OF_GIVEN_NAMES:
            return None
        kind = _kind(mine, theirs, self._other.started_at)
        return _entry(self._comparison, name or other_name, kind, size, other_size)


class _Live:
    """A backup, or the entries that a restore wrote from it, compared with KV."""

    def __init__(self, comparison: Comparison, lease: Lease, marks: Marks, reader: KvReader) -> None:
        self._comparison, self._lease, self._marks, self._reader = comparison, lease, marks, reader
        self._generation = comparison.generation
        self._key = encryption.digest_key(comparison.generation)
        self._before = lease.run.calls

    def step(self) -> Again | int:
        at: dict[str, Any] = {"phase": "read", "after": "", "equal": 0, "done": 0}
        at |= {"prefix": 0, "cursor": None, "restarts": 0} | self._lease.run.cursor
        while True:
            if at["phase"] == "read":
                self._read(at)
            elif at["prefix"] < len(self._prefixes()):
                self._list(at)
            else:
                same: int = at["equal"]
                return same
            if self._lease.tired:
                return Again()

    def _prefixes(self) -> Sequence[str]:
        """The prefixes to list for added keys; a backup of a list of names proves nothing about other names."""
        given = self._comparison.restore_id is not None or self._generation.purpose in Generation.OF_GIVEN_NAMES
        return [] if given else self._generation.prefixes

    def _kept(self) -> QuerySet[GenerationEntry]:
        kept = self._generation.entries.filter(outcome=GenerationEntry.Outcome.KEPT).order_by("name")
        if self._comparison.restore is None:
            return kept
        return kept.filter(name__in=self._comparison.restore.entries.values("name"))

    def _read(self, at: dict[str, Any]) -> None:
        """Compare a block of the backup's names with KV."""
        most = READ // 5 if self._generation.read == Read.EXACT else READ
        block = list(self._kept().filter(name__gt=at["after"])[:most])
        asked = iter([Name(one.index, one.name, None) for one in block])
        live = self._reader.values(self._comparison.namespace.namespace_id, asked, self._generation.read)
        now, found = clock.now(), []
        for one, (_name, entry) in zip(block, live, strict=True):
            if (unlike := self._unlike(one, entry, now)) is not None:
                found.append(unlike)
        at["equal"] = at["equal"] + len(block) - len(found)
        at["done"] = at["done"] + len(block)
        at |= {"after": block[-1].name} if block else {"phase": "list"}
        with self._checkpoint(at, counted(_COMPARED[at["done"] != 1], at["done"])):
            ComparisonEntry.objects.bulk_create(found)

    def _unlike(self, one: GenerationEntry, live: KvEntry | None, now: datetime) -> ComparisonEntry | None:
        held = bytes(one.digest or b"")
        if live is not None and entry_digest(live, self._key) == held:
            return None
        theirs = None
        if live is not None:
            theirs = EntryDigests.of(live.name, live.data, live.metadata, live.expiration, self._key)
        kind = _kind(self._marks.of(one.index, held), theirs, now)
        return _entry(self._comparison, one.name, kind, one.size, None if live is None else len(live.data))

    def _list(self, at: dict[str, Any]) -> None:
        """Take a page of the listing: names that the backup lacks were added."""
        client, namespace_id = self._reader.client, self._comparison.namespace.namespace_id
        under, cursor = self._prefixes()[at["prefix"]], at["cursor"]
        try:
            page = self._reader.run(lambda: client.list_keys(namespace_id, prefix=under, cursor=cursor))
        except CursorRefused as refused:
            at |= {"cursor": None, "restarts": at["restarts"] + 1}
            if at["restarts"] > MAX_RESTARTS:
                sentence = _("The listing had to start again %(restarts)s times. Try again later.")
                raise RunError("listing", say(sentence, restarts=MAX_RESTARTS)) from refused
            with self._checkpoint(at, "Listing the names again"):
                return
        listed = [key.name for key in page.keys if names.workable(key.name)]
        known = set(self._kept().filter(name__in=listed).values_list("name", flat=True))
        found = [_entry(self._comparison, name, Kind.ADDED, None, None) for name in listed if name not in known]
        at |= {"cursor": page.cursor, "prefix": at["prefix"] + (page.cursor is None)}
        with self._checkpoint(at, gettext_noop("Listing the added keys.")):
            # A listing that starts again shows earlier names once more.
            ComparisonEntry.objects.bulk_create(found, ignore_conflicts=True)

    @contextmanager
    def _checkpoint(self, at: dict[str, Any], note: str) -> Iterator[None]:
        calls = self._before + self._reader.client.calls
        with self._lease.checkpoint(cursor=at, done=at["done"], calls=calls, note=note):
            yield


def _kind(mine: EntryDigests | None, theirs: EntryDigests | None, at: datetime) -> ComparisonEntry.Kind:
    """The kind of difference from the backup's entry; `at` is the time when the other entry was read."""
    if mine is None:
        return Kind.ADDED
    if theirs is None:
        over = mine.expiration is not None and mine.expiration <= at.timestamp()
        return Kind.EXPIRED if over else Kind.REMOVED
    if mine.value != theirs.value:
        return Kind.VALUE
    return Kind.METADATA if mine.metadata != theirs.metadata else Kind.EXPIRATION


def _entry(
    comparison: Comparison, name: str, kind: ComparisonEntry.Kind, size: int | None, other_size: int | None
) -> ComparisonEntry:
    return ComparisonEntry(comparison=comparison, name=name, kind=kind, size=size, other_size=other_size)
