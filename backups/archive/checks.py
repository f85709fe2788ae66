"""Whether an object that was read back is the one that was written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest

from backups.archive.digests import EntryDigests, Root, read_digests
from backups.archive.errors import Damaged
from backups.archive.manifest import Part
from backups.archive.reading import read_entries

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class PartCheck:
    """The result of reading one data object back; the object is intact if there are no problems."""

    keys: int
    size: int
    sha256: str
    digest_root: str
    problems: tuple[str, ...]


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
                problems.add("The digests list more entries than the object holds.")
                break
            keys += 1
            actual = EntryDigests.of(entry.name, entry.data, entry.metadata, entry.expiration, key)
            root.add(bytes.fromhex(actual.entry))
            if expected is None:
                problems.add(f"{entry.name!r} has no digests.")
            elif actual != expected:
                problems.add(f"{entry.name!r} differs in {_differences(actual, expected)}.")
    except Damaged as damage:
        problems.add(str(damage))
    read.drain()
    problems.unless(sha256(digests).hexdigest() == part.digests_sha256, "The digests object is not the one written.")
    problems.unless(read.size == part.size, f"The object has {read.size} bytes, {part.size} were written.")
    problems.unless(read.sha256() == part.sha256, "The SHA-256 of the object is not the one in the manifest.")
    problems.unless(keys == part.keys, f"{keys} entries could be read, {part.keys} were written.")
    problems.unless(root.hexdigest() == part.digest_root, "The digest root is not the one computed from KV.")
    return PartCheck(keys, read.size, read.sha256(), root.hexdigest(), problems.listed())


def _differences(actual: EntryDigests, expected: EntryDigests) -> str:
    named = ("name", "value", "metadata", "expiration")
    return ", ".join(what for what in named if getattr(actual, what) != getattr(expected, what)) or "its digest"


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
        for _ in self:
            pass

    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Problems:
    """The first problems as sentences, and the number of all problems."""

    def __init__(self) -> None:
        self._sentences: list[str] = []
        self._count = 0

    def add(self, sentence: str) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._sentences.append(sentence)

    def unless(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.add(sentence)

    def listed(self) -> tuple[str, ...]:
        hidden = self._count - len(self._sentences)
        return (*self._sentences, f"… and {hidden} more.") if hidden else tuple(self._sentences)
