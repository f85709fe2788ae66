"""Whether an object that was read back is the one that was written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest

from backups.archive.digests import EntryDigests, Root, read_digests
from backups.archive.errors import Damaged
from backups.archive.manifest import Part
from backups.archive.reading import read_entries
from kvops.refusals import Sentence, Sentence as _, said_by

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class PartCheck:
    """The result of reading one data object back; the object is intact if there are no problems."""

    keys: int
    size: int
    sha256: str
    digest_root: str
    problems: tuple[Sentence, ...]


def check_part(
    chunks: Iterable[bytes],
    digests: bytes,
    part: Part,
    *,
    opened: Callable[[Iterable[bytes]], Iterator[bytes]] = iter,
    key: bytes | None = None,
) -> PartCheck:
    """Compare a data object, read from the store, entry by entry with its digests and with the manifest.

    `opened` decrypts an encrypted object; `key` is then the key of its digests. At most 20 problems are listed, then
    their number. Memory is bounded by one entry and the digests, or by the part if it is encrypted. An exception that
    `chunks` raises is not caught.
    """
    read = _Counted(chunks)
    problems = _Problems()
    root = Root()
    keys = 0
    try:
        for entry, expected in zip_longest(read_entries(opened(read)), read_digests(digests)):
            if entry is None:
                problems.add(_("The digests list more entries than the object holds."))
                break
            keys += 1
            actual = EntryDigests.of(entry.name, entry.data, entry.metadata, entry.expiration, key)
            root.add(bytes.fromhex(actual.entry))
            if expected is None:
                problems.add(_("%(name)s has no digests.", name=repr(entry.name)))
            elif actual != expected:
                problems.add(
                    _("%(name)s differs in %(fields)s.", name=repr(entry.name), fields=_differences(actual, expected))
                )
    except Damaged as damage:
        problems.add(said_by(damage))
    read.drain()
    problems.unless(sha256(digests).hexdigest() == part.digests_sha256, _("The digests object is not the one written."))
    problems.unless(
        read.size == part.size,
        _("Bytes of the object: %(size)s, written: %(written)s.", size=read.size, written=part.size),
    )
    problems.unless(read.sha256() == part.sha256, _("The SHA-256 of the object is not the one in the manifest."))
    problems.unless(
        keys == part.keys,
        _("Entries that could be read: %(keys)s, written: %(written)s.", keys=keys, written=part.keys),
    )
    problems.unless(root.hexdigest() == part.digest_root, _("The digest root is not the one computed from KV."))
    return PartCheck(keys, read.size, read.sha256(), root.hexdigest(), problems.listed())


def _differences(actual: EntryDigests, expected: EntryDigests) -> Sentence:
    named = {"name": _("name"), "value": _("value"), "metadata": _("metadata"), "expiration": _("expiration")}
    differing = {name: word for name, word in named.items() if getattr(actual, name) != getattr(expected, name)}
    return Sentence(", ".join(f"%({name})s" for name in differing), **differing) if differing else _("its digest")


class _Counted:
    """Passes chunks on, and keeps their size and SHA-256."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._hash = sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    def drain(self) -> None:
        for _chunk in self:
            pass

    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Problems:
    """The first problems as sentences, and the number of all problems."""

    def __init__(self) -> None:
        self._sentences: list[Sentence] = []
        self._count = 0

    def add(self, sentence: Sentence) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._sentences.append(sentence)

    def unless(self, holds: bool, sentence: Sentence) -> None:
        if not holds:
            self.add(sentence)

    def listed(self) -> tuple[Sentence, ...]:
        hidden = self._count - len(self._sentences)
        return (*self._sentences, _("… and %(count)s more.", count=hidden)) if hidden else tuple(self._sentences)
