"""The interface of an object store: its types and errors. No Django, no models.

StoreError
├── ObjectMissing      there is no such object
├── ObjectConflict     another object already has this name
├── NotOffered         this store has no such call
├── AccessRefused      these credentials may not, or this host may not be called
│   ├── CredentialsRefused   the store does not know the credentials
│   └── ObjectLocked   a bucket lock keeps the object that has this name
└── StoreUnavailable   no answer, or not now; the effect of a write is unknown, putting again is safe
"""

from collections.abc import Callable, Iterator
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


class CredentialsRefused(AccessRefused):
    """The store does not know the credentials: they are mistyped, or their token was deleted."""


class ObjectLocked(AccessRefused):
    """A bucket lock lets nobody overwrite or delete the object of this name."""


class Elsewhere(StoreError):
    """The backup is not in the environment's current bucket."""


class NotOffered(StoreError):
    """The store has no such call; R2 itself has it."""


class StoreUnavailable(StoreError):
    """The store gave no answer, or refused for now. The outcome is unknown and the call may be repeated."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The store's description of an object. The ETag serves to compare listings; it is no content hash."""

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    begun_at: datetime


class Page(NamedTuple):
    """One page of a listing, in the byte order of the names, and whether more follow."""

    objects: list[ObjectInfo]
    more: bool


class Store(Protocol):
    """Objects that are written once. Every method raises StoreError."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> ObjectInfo:
        """Store a new object. Repeating it with the same bytes is fine; other bytes raise ObjectConflict."""

    def get(self, key: str) -> bytes:
        """The whole object; raises ObjectMissing."""

    def open(self, key: str, *, seen: Callable[[ObjectInfo], object] | None = None) -> Iterator[bytes]:
        """The object in chunks of at most 64 KiB; raises ObjectMissing at the first.

        `seen` is called with the store's description of the object before the first chunk.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """The store's description of the object; None if there is none."""

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """At most `limit` (1 to 1,000) objects whose names begin with the prefix and come after the name `after`."""

    def uploads(self, prefix: str) -> list[Upload]:
        """The unfinished uploads under the prefix, at most 1,000; raises NotOffered."""
