"""1Password as a place for objects: one Document each, written like objects of a bucket. No Django.

For small backups of settings: a Document is in memory as a whole, and an account may make only so many a day.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from posixpath import basename
from typing import Any

from backups.bucket.store import ObjectConflict, ObjectInfo, ObjectMissing, StoreError, StoreUnavailable
from kvops.connections import onepassword
from kvops.refusals import Sentence as _, said_by

LIMIT = 4 * 1024 * 1024
"""Bytes of a Document, at most. 1Password's own limit is higher, but this store is for small backups."""

_TAG = "kvops"


class DocumentStore:
    """A vault.

    `notes` are stored with each Document: the steps to restore it. `between` is called before each request, so that a
    run can keep its lease.
    """

    def __init__(self, vault: str, notes: str = "", between: Callable[[], None] = lambda: None) -> None:
        self.bucket = vault
        self._notes = notes
        self._between = between

    def put(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> ObjectInfo:
        """Store a new Document with this title; see Store. Raises StoreError for more than 4 MiB."""
        if len(body) > LIMIT:
            raise StoreError(
                _(
                    "%(key)s has %(size)s bytes; %(most)s at most are kept in 1Password.",
                    key=key,
                    size=len(body),
                    most=LIMIT,
                )
            )
        digest = sha256(body).hexdigest()
        if known := self.head(key):
            if known.etag == digest:
                return known
            raise ObjectConflict(
                _("The vault %(bucket)s has another Document with the title %(key)s.", bucket=self.bucket, key=key)
            )
        types = onepassword.sdk("types")

        async def create(client: Any) -> None:
            await client.items.create(
                types.ItemCreateParams(
                    category=types.ItemCategory.DOCUMENT,
                    vault_id=await self._vault(client),
                    title=key,
                    notes=self._notes,
                    tags=[_TAG, f"sha256:{digest}", f"bytes:{len(body)}"],
                    document=types.DocumentCreateParams(name=basename(key), content=body),
                )
            )

        self._ask(create)
        found = self.head(key)
        if found is None:
            raise StoreUnavailable(
                _("%(key)s was put into the vault %(bucket)s and is not there: try again.", key=key, bucket=self.bucket)
            )
        return found

    def get(self, key: str) -> bytes:
        """The whole Document; see Store."""

        async def read(client: Any) -> bytes:
            one = await self._one(client, key)
            if one is None:
                raise self._missing(key)
            item = await client.items.get(one.vault_id, one.id)
            content: bytes = await client.items.files.read(one.vault_id, one.id, item.document)
            return content

        return self._ask(read)

    def head(self, key: str) -> ObjectInfo | None:
        """The description of the Document; see Store. Its ETag is the SHA-256 at its put."""

        async def look(client: Any) -> ObjectInfo | None:
            one = await self._one(client, key)
            return _info(one) if one else None

        return self._ask(look)

    def item(self, key: str) -> str:
        """The id of the Document's item. Raises ObjectMissing."""

        async def look(client: Any) -> str:
            one = await self._one(client, key)
            if one is None:
                raise self._missing(key)
            found: str = one.id
            return found

        return self._ask(look)

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing(
            _("The vault %(bucket)s has no Document with the title %(key)s.", bucket=self.bucket, key=key)
        )

    async def _one(self, client: Any, key: str) -> Any:
        """The Document of KVOps with this title; None if there is none."""
        found = await client.items.list(await self._vault(client))
        return next((one for one in found if one.title == key and _TAG in one.tags), None)

    async def _vault(self, client: Any) -> str:
        for vault in await client.vaults.list():
            if vault.title == self.bucket:
                found: str = vault.id
                return found
        raise StoreError(
            _("The service account sees no vault %(bucket)s: share it, or correct its name.", bucket=repr(self.bucket))
        )

    def _ask[T](self, work: Callable[[Any], Awaitable[T]]) -> T:
        self._between()
        try:
            return onepassword.ask_onepassword(work, passing=StoreError)
        except onepassword.Unavailable as error:
            raise StoreUnavailable(said_by(error)) from error


def _info(overview: Any) -> ObjectInfo:
    facts = dict(tag.split(":", 1) for tag in overview.tags if ":" in tag)
    return ObjectInfo(overview.title, int(facts.get("bytes", 0)), facts.get("sha256", ""), overview.created_at)
