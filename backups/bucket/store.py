"""What a store of objects offers, whatever is behind it: its types and errors. No Django, no models.

StoreError
├── ObjectMissing      there is no such object
├── ObjectConflict     another object already has this name
├── NotOffered         this store has no such call
├── AccessRefused      these credentials may not, or this host may not be called
└── StoreUnavailable   no answer, or not now; the effect of a write is unknown, putting again is safe
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol


class StoreError(Exception):
    """Base of every error of a store; the text is a sentence with the request id."""


class ObjectMissing(StoreError):
    """There is no object of this name."""


class ObjectConflict(StoreError):
    """An object of this name holds other bytes; objects are never overwritten."""


class AccessRefused(StoreError):
    """The credentials, the host or a bucket lock do not allow this."""


class Elsewhere(StoreError):
    """The copy lies in another bucket than the environment has now."""


class NotOffered(StoreError):
    """The store has no such call; R2 itself has it."""


class StoreUnavailable(StoreError):
    """The store did not answer, or not now; the outcome is unknown and the call may be repeated."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says about an object. The ETag is for comparing listings; it is no content hash."""

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """An object whose upload in several parts was begun and neither finished nor given up."""

    key: str
    upload_id: str
    begun_at: datetime


class Page(NamedTuple):
    """Some of the objects of a listing, in the byte order of their names, and whether there are more."""

    objects: list[ObjectInfo]
    more: bool


class Store(Protocol):
    """Objects that are written once. Every method raises StoreError."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> ObjectInfo:
        """Store a new object. The same bytes under the same name are fine, others raise ObjectConflict."""

    def get(self, key: str) -> bytes:
        """The whole object; raises ObjectMissing."""

    def open(self, key: str) -> Iterator[bytes]:
        """The object in chunks of at most 64 KiB; raises ObjectMissing at the first."""

    def head(self, key: str) -> ObjectInfo | None:
        """What the store says about the object, None when there is none."""

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """At most `limit` (1 to 1,000) objects whose names start so, from the first above the name `after`."""

    def uploads(self, prefix: str) -> list[Upload]:
        """The unfinished uploads under the prefix, at most 1,000; raises NotOffered."""
