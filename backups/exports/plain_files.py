"""Plain files of keys and values, as `wrangler kv bulk put` takes them; of any length, in bounded memory.

The names are listed first and kept in an unnamed temporary file, so that a refusal comes before any value is read.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self

from django.utils.translation import ngettext_lazy

from audit import log
from audit.actions import Action
from backups import archive
from backups.exports.plain_file import PlainFile, ended_tidily, insist_free, publish
from backups.generations import encryption, kv_reader, scope
from backups.generations.export import gone
from backups.generations.freeze import MAX_RESTARTS
from backups.generations.kv_reader import KvReader, Name
from backups.generations.scope import BackupRefused
from backups.models import GenerationEntry
from kvops.cloudflare import BULK_GET_LIMIT, MAX_NAME_BYTES, CursorRefused
from kvops.inventory.families import Families
from kvops.models import Family, Namespace, Read
from kvops.prefixes import distinct_of_keys, patterns
from kvops.refusals import Refused, Sentence as _
from kvops.wording import keys_of, say


@dataclass(frozen=True)
class Plan:
    """The size of a dump in advance: the number of keys and of all requests."""

    keys: int
    calls: int


@dataclass(frozen=True)
class WrittenDump:
    """A file that was written; `bytes` counts its values. `api_only` is the file of entries that wrangler refuses."""

    keys: int
    bytes: int
    calls: int
    sha256: str
    path: Path
    api_only: Path | None
    api_only_keys: int
    expired: int
    vanished: int


def plan_dump(namespace: Namespace, *, prefixes: Collection[str], plain: bool) -> Plan:
    """Count the keys under the prefixes and the requests for a dump of them, to a plain file or to the bucket.

    Raises BackupRefused.
    """
    with _reader(namespace) as reader, _Names() as names:
        families = _list(namespace, distinct_of_keys(prefixes), reader, names, plain=plain)
        calls = reader.client.calls
    sampled = len(kv_reader.sample("", names.count))
    if scope.read_mode(families) == Read.EXACT:
        return Plan(names.count, calls + 2 * names.count)
    bulk = -(-names.count // BULK_GET_LIMIT) + -(-sampled // BULK_GET_LIMIT)
    return Plan(names.count, calls + bulk + 2 * sampled)


def write(
    namespace: Namespace, *, prefixes: Collection[str], path: Path, actor: log.Actor, progress: Callable[[str], None]
) -> WrittenDump:
    """Write all keys under the prefixes to a new file, all or nothing, readable by its owner only.

    Raises BackupRefused if a key needs encryption, PathRefused, archive.BadEntry, CloudflareError, and OSError if the
    list of names finds no room in the directory for temporary files.
    """
    prefixes = distinct_of_keys(prefixes)
    sibling = path.with_name(f"{path.name.removesuffix('.json')}.api-only.json")
    for place in (path, sibling):
        insist_free(place)
    with (
        ended_tidily(),
        _reader(namespace) as reader,
        _Names() as names,
        PlainFile(path) as plain,
        PlainFile(sibling) as api_only,
    ):
        progress("Listing names")
        families = _list(namespace, prefixes, reader, names, plain=True)
        read = _how_to_read(namespace, families, reader, names)
        lost = dict.fromkeys(GenerationEntry.Outcome, 0)
        for name, entry in reader.values(namespace.namespace_id, iter(names), read):
            if entry is None:
                lost[gone(name)] += 1
            else:
                (plain if archive.wrangler_keeps(entry.metadata) else api_only).add(entry)
            if name.index % 1_000 == 0:
                progress(f"Read {name.index} of {keys_of(names.count)}")
        files = [plain, api_only] if api_only.keys else [plain]
        publish(namespace, prefixes, files, actor)
        return WrittenDump(
            keys=plain.keys + api_only.keys,
            bytes=plain.value_bytes + api_only.value_bytes,
            calls=reader.client.calls,
            sha256=plain.sha256,
            path=path,
            api_only=sibling if api_only.keys else None,
            api_only_keys=api_only.keys,
            expired=lost[GenerationEntry.Outcome.EXPIRED],
            vanished=lost[GenerationEntry.Outcome.VANISHED],
        )


def record_refusal_of_dump(
    namespace: Namespace, prefixes: Collection[str], refusal: Refused, *, actor: log.Actor
) -> None:
    """Record the refusal of a dump; the caller reports it."""
    log.refusal(
        Action.DUMP_REFUSED,
        actor=actor,
        **namespace.audited,
        details={"prefixes": [_recordable(prefix) for prefix in prefixes], "reason": str(refusal)[:500]},
    )


def _recordable(prefix: str) -> str:
    """The prefix as the audit log takes it, since it may be the reason for the refusal."""
    return prefix.encode(errors="backslashreplace").decode().replace("\0", "\\0")[:MAX_NAME_BYTES]


def _reader(namespace: Namespace) -> KvReader:
    return KvReader(namespace.environment, lambda: None, patient=True)


def _list(
    namespace: Namespace, prefixes: Sequence[str], reader: KvReader, names: "_Names", *, plain: bool
) -> list[Family]:
    """Fill `names` and return the families of the names. Raises BackupRefused."""
    families = Families.of(namespace.binding)
    for restarts in range(MAX_RESTARTS + 1):
        names.clear()
        try:
            for prefix in prefixes:
                _list_one(namespace, prefix, reader, names)
            break
        except CursorRefused:
            if restarts == MAX_RESTARTS:
                raise
    found = Counter(families.family(name.name) for name in names)
    count = sum(keys for family, keys in found.items() if encryption.needed(family))
    if count and plain:
        raise _refusal(namespace, prefixes, count)
    if count and not encryption.possible():
        raise scope.refusal(namespace, prefixes, count)
    return [family for family in found if family]


def _list_one(namespace: Namespace, prefix: str, reader: KvReader, names: "_Names") -> None:
    cursor: str | None = None
    while True:
        after = cursor
        page = reader.run(lambda: reader.client.list_keys(namespace.namespace_id, prefix=prefix, cursor=after))  # noqa: B023
        if page.unencodable:
            raise BackupRefused(
                _(
                    "No file can hold a name without a UTF-8 form. Such names under %(prefix)s*: %(count)s.",
                    count=page.unencodable,
                    prefix=prefix,
                ),
                page.unencodable,
            )
        for key in page.keys:
            names.add(key.name, key.expiration)
        cursor = page.cursor
        if cursor is None:
            return


def _refusal(namespace: Namespace, prefixes: Sequence[str], count: int) -> BackupRefused:
    sentence = ngettext_lazy(
        "%(count)s key of %(namespace)s under %(prefixes)s requires encryption and is not exported in the clear: it is "
        "a setting, unclassified, or in a family that requires encryption. Back it up with --to-r2.",
        "%(count)s keys of %(namespace)s under %(prefixes)s require encryption and are not exported in the clear: they "
        "are settings, unclassified, or in a family that requires encryption. Back them up with --to-r2.",
        count,
    )
    under = ", ".join(patterns(prefixes))
    return BackupRefused(say(sentence, count=f"{count:,}", namespace=namespace, prefixes=under), count)


def _how_to_read(namespace: Namespace, families: Collection[Family], reader: KvReader, names: "_Names") -> Read:
    if scope.read_mode(families) == Read.EXACT:
        return Read.EXACT
    indexes = kv_reader.sample(archive.names_sha256(name.name for name in names), names.count)
    wanted = set(indexes)
    chosen = [name for name in names if name.index in wanted]
    return Read.EXACT if reader.differ(namespace.namespace_id, chosen) else Read.BULK


class _Names:
    """The listed names in a file that no other process can open. Raises CursorRefused if they are out of order."""

    def __init__(self) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.count = 0
        self._last = ""

    def add(self, name: str, expiration: int | None) -> None:
        if name <= self._last:
            raise CursorRefused(
                _("The listing went back from %(last)s to %(name)s.", last=repr(self._last), name=repr(name)),
                status=200,
            )
        self._file.write(json.dumps([name, expiration]).encode() + b"\n")
        self.count += 1
        self._last = name

    def __iter__(self) -> Iterator[Name]:
        self._file.seek(0)
        for index, line in enumerate(self._file):
            yield Name(index, *json.loads(line))
