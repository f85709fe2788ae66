"""Digests of entries and of lists of entries; everything streams.

An entry's digest covers its exact name, value bytes, metadata *text* and expiration. Metadata is not normalised:
`1.0` and `1`, or two orders of the same members, give different digests.

    entry   = SHA-256( "kvops:entry:1" NUL, field(name as UTF-8), field(SHA-256 of the value),
                       field(metadata text as UTF-8), field(expiration in decimal) )
    field   = 4-byte big-endian length and the bytes; an absent one is FF FF FF FF
    root    = SHA-256( "kvops:root:1" NUL, every digest (32 bytes each) in order, 8-byte big-endian count )

The root of an object is over its entries, the root of a backup over its objects' roots. It is a flat hash, not a
tree: the digests objects already hold every leaf, and it can be fed one by one.

Digests beside an encrypted object must not reveal its values, because the SHA-256 of a short secret is found by
trying. With a key, every SHA-256 of an entry above is an HMAC-SHA-256; the root is over these. `key_id` names a key
and reveals nothing of it.
"""

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from backups.archive.errors import Damaged, ManifestError
from kvops.refusals import Sentence as _

_ABSENT = b"\xff\xff\xff\xff"
_HEADER = b"# kvops digests 1: entry name value metadata expiration\n"
_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64}) ([0-9a-f]{64}|-) (-?[0-9]{1,19}|-)")


def hashed(data: bytes, key: bytes | None = None) -> bytes:
    """The 32-byte SHA-256 of the bytes; with a key their HMAC-SHA-256."""
    return sha256(data).digest() if key is None else hmac.digest(key, data, "sha256")


def key_id(key: bytes) -> str:
    """The public name of a key of digests: 16 hex digits."""
    return hashed(b"kvops:digest-key:1", key).hex()[:16]


def entry_digest(
    name: str, value_hashed: bytes, metadata: str | None, expiration: int | None, key: bytes | None = None
) -> bytes:
    """The 32-byte digest of one entry, as defined above. The value is given as its `hashed` with the same key."""
    fields = (
        name.encode(),
        value_hashed,
        None if metadata is None else metadata.encode(),
        None if expiration is None else b"%d" % expiration,
    )
    framed = b"".join(_ABSENT if field is None else _framed(field) for field in fields)
    return hashed(b"kvops:entry:1\0" + framed, key)


class Root:
    """The root of a list of 32-byte digests, fed one at a time."""

    def __init__(self) -> None:
        self._hash = sha256(b"kvops:root:1\0")
        self._count = 0

    def add(self, digest: bytes) -> None:
        """Append the next digest."""
        self._hash.update(digest)
        self._count += 1

    def hexdigest(self) -> str:
        """The root of the digests added so far."""
        closed = self._hash.copy()
        closed.update(self._count.to_bytes(8, "big"))
        return closed.hexdigest()


def digest_root(digests: Iterable[bytes]) -> str:
    """The root, in hex, of digests in the order given."""
    root = Root()
    for digest in digests:
        root.add(digest)
    return root.hexdigest()


def names_sha256(names: Iterable[str]) -> str:
    """SHA-256, in hex, over byte-sorted names, each preceded by its 4-byte length.

    Raises ManifestError unless they are strictly increasing by their UTF-8 bytes.
    """
    total = sha256()
    previous: bytes | None = None
    for name in names:
        encoded = name.encode()
        if previous is not None and encoded <= previous:
            raise ManifestError(
                _("Names must be sorted by their bytes, each once: %(name)s is out of place.", name=repr(name))
            )
        total.update(_framed(encoded))
        previous = encoded
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class EntryDigests:
    """One line of a digests object, in hex. Metadata and expiration are None if KV has none."""

    entry: str
    name: str
    value: str
    metadata: str | None
    expiration: int | None

    @classmethod
    def of(
        cls, name: str, value: bytes, metadata: str | None, expiration: int | None, key: bytes | None = None
    ) -> "EntryDigests":
        """The digests of an entry that was read from KV, with a key if the backup is encrypted."""
        value_hashed = hashed(value, key)
        return cls(
            entry_digest(name, value_hashed, metadata, expiration, key).hex(),
            hashed(name.encode(), key).hex(),
            value_hashed.hex(),
            None if metadata is None else hashed(metadata.encode(), key).hex(),
            expiration,
        )

    def line(self) -> bytes:
        """The line as it is stored."""
        expiration = "-" if self.expiration is None else self.expiration
        return f"{self.entry} {self.name} {self.value} {self.metadata or '-'} {expiration}\n".encode()


def encode_digests(lines: Iterable[EntryDigests]) -> bytes:
    """A digests object: a header, then one line per entry in the order of the data object."""
    return _HEADER + b"".join(line.line() for line in lines)


def read_digests(data: bytes) -> Iterator[EntryDigests]:
    """The lines of a digests object. Raises Damaged at the first invalid line."""
    if not data.startswith(_HEADER):
        raise Damaged(_("The digests do not start with the header of format 1."))
    at = len(_HEADER)
    while at < len(data):
        end = data.find(b"\n", at)
        found = _LINE.fullmatch(data, at, end) if end >= 0 else None
        if found is None:
            raise Damaged(_("The digests are damaged or cut off at byte %(at)s.", at=at))
        entry, name, value, metadata, expiration = (group.decode() for group in found.groups())
        yield EntryDigests(
            entry,
            name,
            value,
            None if metadata == "-" else metadata,
            None if expiration == "-" else int(expiration),
        )
        at = end + 1


def _framed(field: bytes) -> bytes:
    return len(field).to_bytes(4, "big") + field


def objects_sha256(keys: Iterable[str]) -> str:
    """The digest of object names in the order they were written, each preceded by its 4-byte length."""
    digest = sha256()
    for key in keys:
        name = key.encode()
        digest.update(len(name).to_bytes(4, "big") + name)
    return digest.hexdigest()
