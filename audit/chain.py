"""Canonical bytes of an entry, the hash chain over them, and its verification. Pure: no Django.

The canonical bytes are the name of the schema, then the fields of ``Content`` in their order. Each is UTF-8 text
preceded by its length in four bytes (big-endian), so no two entries share their bytes. A missing ``actor_id`` is the
empty text. ``at`` is UTC to the microsecond. ``details`` is JSON with keys sorted by code point and no spaces.
``row_hash`` is SHA-256 of ``prev_hash`` and these bytes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

type JSON = str | int | bool | Sequence[JSON] | Mapping[str, JSON] | None

SCHEMA = "kvops-audit-1"
HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)  # prev_hash of the first entry

MAX_TEXT = 2_000  # characters in one text inside the details
MAX_DETAILS = 16 * 1024  # bytes of the details as canonical JSON
MAX_DEPTH = 8  # levels of nested lists and objects


class NotRecordableError(ValueError):
    """The entry holds something the audit log does not take; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The fields of an entry, without the links of the chain."""

    seq: int
    at: datetime
    action: str
    actor_id: int | None
    actor: str
    environment: str
    subject: str
    subject_label: str
    digest: str
    details: Mapping[str, JSON]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry as it is stored: its content, its canonical bytes and its hashes."""

    content: Content
    canonical: bytes
    prev_hash: bytes
    row_hash: bytes


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """One fault of the chain, at the sequence number where it shows."""

    sequence: int
    problem: str


def canonical_entry(content: Content) -> bytes:
    """Return the bytes that are hashed for an entry; raises NotRecordableError."""
    if content.at.tzinfo is None:
        raise NotRecordableError("The time of an entry needs a time zone.")
    fields = (
        SCHEMA,
        str(content.seq),
        content.at.astimezone(UTC).isoformat(timespec="microseconds"),
        content.action,
        "" if content.actor_id is None else str(content.actor_id),
        content.actor,
        content.environment,
        content.subject,
        content.subject_label,
        content.digest,
        _details_text(content.details),
    )
    encoded = [_utf8(field) for field in fields]
    return b"".join(len(field).to_bytes(4) + field for field in encoded)


def entry_hash(prev_hash: bytes, canonical: bytes) -> bytes:
    """Return SHA-256 of the previous entry's hash and an entry's canonical bytes."""
    if len(prev_hash) != HASH_BYTES:
        raise ValueError(f"The previous hash has {len(prev_hash)} bytes instead of {HASH_BYTES}.")
    return hashlib.sha256(prev_hash + canonical).digest()


def problems(links: Iterable[Link], *, head_sequence: int, head_hash: bytes) -> Iterator[ChainProblem]:
    """Yield the faults of a chain read in order of its sequence numbers up to its head.

    After a fault the walk goes on from the stored values, so that later entries do not report the same fault again.
    Memory does not grow with the chain.
    """
    sequence, last_hash, last_at = 0, GENESIS, None
    for link in links:
        yield from _entry_problems(link)
        content = link.content
        if content.seq != sequence + 1:
            yield ChainProblem(content.seq, f"gap: the entry before it has number {sequence}")
        elif link.prev_hash != last_hash:
            yield ChainProblem(content.seq, "prev_hash is not the hash of the entry before it")
        if last_at is not None and content.at < last_at:
            yield ChainProblem(content.seq, "time goes back")
        sequence, last_hash, last_at = content.seq, link.row_hash, content.at
    if sequence != head_sequence:
        yield ChainProblem(sequence + 1, f"entries are missing: the head says {head_sequence}, the last is {sequence}")
    elif last_hash != head_hash:
        yield ChainProblem(sequence, "the hash of the last entry is not the hash of the head")


def _entry_problems(link: Link) -> Iterator[ChainProblem]:
    sequence = link.content.seq
    try:
        agrees = canonical_entry(link.content) == link.canonical
    except NotRecordableError as error:
        yield ChainProblem(sequence, f"the columns cannot be an entry: {error}")
    else:
        if not agrees:
            yield ChainProblem(sequence, "the columns differ from the canonical bytes")
    if len(link.prev_hash) != HASH_BYTES:
        yield ChainProblem(sequence, "prev_hash is not a SHA-256 hash")
    elif entry_hash(link.prev_hash, link.canonical) != link.row_hash:
        yield ChainProblem(sequence, "row_hash is not the hash of prev_hash and the canonical bytes")


def _details_text(details: Mapping[str, JSON]) -> str:
    _refuse_unrecordable(details, depth=0)
    text = json.dumps(details, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    if (size := len(_utf8(text))) > MAX_DETAILS:
        raise NotRecordableError(f"The details are {size} bytes; at most {MAX_DETAILS} are recorded. Record a digest.")
    return text


def _refuse_unrecordable(value: object, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotRecordableError(f"The details are nested more than {MAX_DEPTH} deep.")
    match value:
        case None | bool() | int():
            return
        case str():
            if len(value) > MAX_TEXT:
                raise NotRecordableError(
                    f"A text in the details has {len(value)} characters; at most {MAX_TEXT} are recorded."
                )
            _utf8(value)
        case list() | tuple():
            for item in value:
                _refuse_unrecordable(item, depth=depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise NotRecordableError(f"A key in the details is not a text: {key!r}.")
                _refuse_unrecordable(key, depth=depth)
                _refuse_unrecordable(item, depth=depth + 1)
        case _:
            # A float has more than one text form, so its hash would not be stable. Other types have no JSON form.
            raise NotRecordableError(
                f"The details hold a {type(value).__name__}; only text, whole numbers, true, "
                "false, null, lists and objects are recorded."
            )


def _utf8(text: str) -> bytes:
    if "\0" in text:
        raise NotRecordableError("A text holds a NUL character, which Postgres cannot store.")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise NotRecordableError("A text is not valid Unicode (it holds a lone surrogate).") from error
