"""Entries as `wrangler kv bulk put` takes them, and the writer of one part.

A data object is a JSON array, one entry per line, members always in the same order. Metadata is spliced in as KV's
own text, so number spellings and repeated members survive.
"""

import decimal
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import sha256
from io import SEEK_END, BytesIO

from backups.archive.age import encrypt
from backups.archive.digests import EntryDigests, Root, encode_digests
from backups.archive.errors import BadEntry
from backups.archive.manifest import Part
from backups.archive.names import digests_key, part_key
from kvops.cloudflare import KvEntry
from kvops.refusals import Sentence as _

MAX_KEYS = 10_000
MAX_BYTES = 64 * 1024 * 1024

# Control characters grow sixfold in JSON. Careless decoders insert U+FFFD and remove a leading BOM. Base64 keeps all of
# these unchanged.
_CONTROL = bytes(set(range(0x20)) - set(b"\t\n\r"))
_quoted = json.JSONEncoder(ensure_ascii=False).encode
_BOM, _REPLACEMENT = "\ufeff".encode(), "\ufffd".encode()


@dataclass(frozen=True, slots=True)
class DataObject:
    """The stored form of one part: the object and its digests."""

    part: Part
    body: bytes = field(repr=False)
    digests: bytes = field(repr=False)

    def at_attempt(self, stem: str, attempt: int) -> "DataObject":
        """The same bytes under the name of a later attempt."""
        encrypted = self.part.key.endswith(".age")
        key = part_key(stem, self.part.number, api_only=self.part.api_only, attempt=attempt, encrypted=encrypted)
        return replace(self, part=replace(self.part, key=key, digests_key=digests_key(key)))


def encode_entry(entry: KvEntry) -> bytes:
    """The entry as one JSON object. Raises BadEntry if it cannot be written without a change."""
    text = _clean_text(entry.data)
    members = [f'"key":{_quoted(entry.name)}']
    if text is None:
        members.append(f'"value":"{b64encode(entry.data).decode()}","base64":true')
    else:
        members.append(f'"value":{_quoted(text)}')
    if entry.expiration is not None:
        members.append(f'"expiration":{entry.expiration}')
    if entry.metadata is not None:
        _check_metadata(entry)
        members.append(f'"metadata":{entry.metadata}')
    try:
        return f"{{{','.join(members)}}}".encode()
    except UnicodeEncodeError as error:
        raise BadEntry(
            _("The key %(name)s holds half a surrogate pair and has no UTF-8 form.", name=repr(entry.name))
        ) from error


def encode_array(entries: Iterable[KvEntry]) -> Iterator[bytes]:
    """A file for `wrangler kv bulk put`, of any length, piece by piece. Raises BadEntry."""
    separator = b"["
    for entry in entries:
        yield separator + b"\n" + encode_entry(entry)
        separator = b","
    yield b"[\n]\n" if separator == b"[" else b"\n]\n"


def encode_part(entries: Iterable[KvEntry]) -> bytes:
    """The same file as one piece."""
    return b"".join(encode_array(entries))


def wrangler_keeps(metadata: str | None) -> bool:
    """Whether wrangler accepts this metadata and passes it on with the same meaning.

    wrangler refuses metadata that is not an object, and it reads JSON as JavaScript does. Numbers become doubles, and
    only the last of repeated members is kept.
    """
    if metadata is None:
        return True
    kept = True

    def number(lexeme: str) -> float:
        nonlocal kept
        kept = kept and _is_a_double(lexeme)
        return 0.0

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal kept
        found = dict(pairs)
        kept = kept and len(found) == len(pairs)
        return found

    value: object = json.loads(
        metadata, parse_int=number, parse_float=number, parse_constant=_refuse, object_pairs_hook=members
    )
    return kept and isinstance(value, dict)


class PartWriter:
    """Collects one part: at most 10,000 entries and 64 MiB, in memory.

    Entries come in the byte order of their names. Entries that wrangler would refuse or change go into a second object,
    so plain wrangler can always restore the first. With a key of digests, both objects must be encrypted.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._plain = _Array(key)
        self._api_only = _Array(key)
        self._last: bytes | None = None

    @property
    def keys(self) -> int:
        """The number of entries in the part."""
        return self._plain.keys + self._api_only.keys

    def add(self, entry: KvEntry) -> bytes | None:
        """Add the entry and return its digest; None if the entry belongs in the next part.

        Raises BadEntry if the entry cannot be written without a change, or is not in order.
        """
        text = encode_entry(entry)
        size = self._plain.size + self._api_only.size + len(text) + len("[\n]\n") * 2
        if self.keys and (self.keys >= MAX_KEYS or size > MAX_BYTES):
            return None
        name = entry.name.encode()
        if self._last is not None and name <= self._last:
            raise BadEntry(
                _(
                    "Entries must be sorted by the bytes of their names, each once: %(name)s is not.",
                    name=repr(entry.name),
                )
            )
        self._last = name
        return (self._plain if wrangler_keeps(entry.metadata) else self._api_only).add(entry, text)

    def finish(self, stem: str, number: int, recipients: Sequence[str] = ()) -> tuple[DataObject, ...]:
        """The objects to store for part `number` of this stem, encrypted to the recipients; the first may be empty."""
        plain = self._plain.finish(stem, number, recipients, api_only=False)
        if not self._api_only.keys:
            return (plain,)
        return (plain, self._api_only.finish(stem, number, recipients, api_only=True))


class _Array:
    """One data object in writing. Its digests are computed from the entries, never from the JSON text."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._body = BytesIO()
        self._digests = BytesIO(encode_digests([]))
        self._digests.seek(0, SEEK_END)
        self._keys = 0
        self._root = Root()
        self._value_bytes = 0
        self._expiring = 0

    @property
    def keys(self) -> int:
        return self._keys

    @property
    def size(self) -> int:
        return self._body.tell()

    def add(self, entry: KvEntry, text: bytes) -> bytes:
        digests = EntryDigests.of(entry.name, entry.data, entry.metadata, entry.expiration, self._key)
        self._body.write(b",\n" if self._keys else b"[\n")
        self._body.write(text)
        self._digests.write(digests.line())
        self._keys += 1
        digest = bytes.fromhex(digests.entry)
        self._root.add(digest)
        self._value_bytes += len(entry.data)
        self._expiring += entry.expiration is not None
        return digest

    def finish(self, stem: str, number: int, recipients: Sequence[str], *, api_only: bool) -> DataObject:
        if bool(recipients) != (self._key is not None):
            raise ValueError("What is encrypted has digests with a key, and nothing else has.")
        self._body.write(b"\n]\n" if self._keys else b"[\n]\n")
        body = self._body.getvalue()
        if recipients:
            body = encrypt(body, recipients)
            self._body.close()
        digests = self._digests.getvalue()
        key = part_key(stem, number, api_only=api_only, encrypted=bool(recipients))
        part = Part(
            key=key,
            number=number,
            api_only=api_only,
            keys=self._keys,
            value_bytes=self._value_bytes,
            expiring=self._expiring,
            size=len(body),
            sha256=sha256(body).hexdigest(),
            digest_root=self._root.hexdigest(),
            digests_key=digests_key(key),
            digests_sha256=sha256(digests).hexdigest(),
        )
        return DataObject(part, body, digests)


def _clean_text(value: bytes) -> str | None:
    # In UTF-8 no other character contains these bytes, and searching bytes is ten times as fast as searching
    # characters.
    if len(value.translate(None, _CONTROL)) != len(value) or _REPLACEMENT in value or value.startswith(_BOM):
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _check_metadata(entry: KvEntry) -> None:
    metadata = entry.metadata or ""
    try:
        json.loads(metadata, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadEntry(_("The metadata of %(name)s is not JSON.", name=repr(entry.name))) from error
    if metadata != metadata.strip(" \t") or "\n" in metadata or "\r" in metadata:
        raise BadEntry(
            _(
                "The metadata of %(name)s has a line break or space around it; make it compact first.",
                name=repr(entry.name),
            )
        )


def _is_a_double(lexeme: str) -> bool:
    number = float(lexeme)
    try:
        return math.isfinite(number) and Decimal(lexeme) == Decimal(repr(number))
    except decimal.InvalidOperation:
        return False


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
