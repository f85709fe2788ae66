"""A proposal: the old and the new entry of one key, in one age object. Its bytes are in the bucket and nowhere else."""

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.utils.translation import gettext_lazy as _
from pyrage import x25519

from backups import archive
from backups.bucket import access as bucket_access
from backups.bucket.store import ObjectMissing, Store
from backups.models import KeyChange
from kvops.cloudflare import KvEntry
from kvops.models import Environment, Namespace
from kvops.refusals import Refused
from kvops.wording import say

FORMAT = 1
LONGEST = 8 * 1024 * 1024
"""Bytes of ciphertext that are opened at most. The editor takes 64 KiB, so this is an object of ours with room."""


class ProposalRefused(Refused):
    """The object is not the proposal of this change; the message says what differs."""


@dataclass(frozen=True)
class Proposal:
    """The old entry, None for a new key, and the new one. `repr` shows no value."""

    place: tuple[str, str, str, str]
    """Environment, account, namespace id and key."""

    old: KvEntry | None
    new: KvEntry

    def __repr__(self) -> str:
        return f"Proposal({self.place[0]}, {self.place[3]!r})"

    @property
    def parts(self) -> list[str]:
        """The parts of the entry that change, in the order value, metadata, expiration."""
        if self.old is None:
            return ["value", *(["metadata"] if self.new.metadata is not None else []), *_given(self.new)]
        both = (
            ("value", self.old.data, self.new.data),
            ("metadata", self.old.metadata, self.new.metadata),
            ("expiration", self.old.expiration, self.new.expiration),
        )
        return [part for part, before, after in both if before != after]

    def sealed(self, recipients: Sequence[str]) -> bytes:
        """The ciphertext, other bytes each time."""
        environment, account, namespace, key = self.place
        document = {
            "format": FORMAT,
            "environment": environment,
            "account_id": account,
            "namespace_id": namespace,
            "key": key,
            "old": None if self.old is None else _document(self.old),
            "new": _document(self.new),
        }
        return archive.encrypt(json.dumps(document).encode(), recipients)


def _given(entry: KvEntry) -> list[str]:
    return ["expiration"] if entry.expiration is not None else []


def place_of(namespace: Namespace, name: str) -> tuple[str, str, str, str]:
    """The environment, the account, the namespace and the key, as a proposal names them."""
    environment = namespace.environment
    return environment.slug, environment.account_id, namespace.namespace_id, name


def new_key(environment: Environment, at: datetime) -> str:
    """The name of a new object. It does not contain the name of the key."""
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{bucket_access.proposals_root(environment)}{stamp}-{secrets.token_hex(4)}.json.age"


def digest(body: bytes) -> str:
    """SHA-256 of the ciphertext, as the evidence names it."""
    return sha256(body).hexdigest()


def opened(change: KeyChange, store: Store, identities: Sequence[x25519.Identity]) -> Proposal:
    """The proposal of a change, if its object is the one that the change names. Raises ProposalRefused and StoreError.

    The ciphertext, the place and the parts that change are all compared with the row.
    """
    if not change.object_sha256:
        raise ProposalRefused(_("The proposal is not made yet."))
    info = store.head(change.object_key)
    if info is None:
        raise ProposalRefused(say(_("%(key)s is gone. Prepare the change again."), key=change.object_key))
    if info.size > LONGEST:
        raise ProposalRefused(say(_("%(key)s is another object than the one proposed."), key=change.object_key))
    try:
        body = store.get(change.object_key)
    except ObjectMissing:
        raise ProposalRefused(say(_("%(key)s is gone. Prepare the change again."), key=change.object_key)) from None
    if digest(body) != change.object_sha256:
        raise ProposalRefused(say(_("%(key)s is another object than the one proposed."), key=change.object_key))
    found = unsealed(body, change.object_key, identities)
    here = (found.place, found.parts, found.old is None)
    if here != (place_of(change.namespace, change.name), change.parts, change.new_key):
        raise ProposalRefused(say(_("%(key)s is the proposal of another change."), key=change.object_key))
    return found


def unsealed(body: bytes, key: str, identities: Sequence[x25519.Identity]) -> Proposal:
    """The proposal in this ciphertext, which is the object `key`. Raises ProposalRefused."""
    try:
        return _read(b"".join(archive.decrypt(iter([body]), identities)))
    except archive.Damaged as damaged:
        raise ProposalRefused(say(_("%(key)s cannot be opened by this process."), key=key)) from damaged


def _read(body: bytes) -> Proposal:
    document: dict[str, Any] = json.loads(body)
    place = tuple(str(document[name]) for name in ("environment", "account_id", "namespace_id", "key"))
    key = place[3]
    old = document["old"]
    return Proposal(
        (place[0], place[1], place[2], key), None if old is None else _entry(key, old), _entry(key, document["new"])
    )


def _document(entry: KvEntry) -> dict[str, object]:
    value = base64.b64encode(entry.data).decode()
    return {"value": value, "metadata": entry.metadata, "expiration": entry.expiration}


def _entry(key: str, document: dict[str, Any]) -> KvEntry:
    return KvEntry(key, base64.b64decode(document["value"]), document["expiration"], document["metadata"])
