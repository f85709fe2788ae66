"""A proposal is the object that its change names, about this key and these parts: without a row or a bucket."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backups import archive
from backups.bucket.store import ObjectInfo, ObjectMissing
from backups.changes import proposal as proposals
from backups.changes.proposal import Proposal, ProposalRefused
from backups.models import KeyChange
from kvops.cloudflare import KvEntry
from kvops.models import Environment, Namespace
from tests import keys

KEY = "proposals/qa/x"
PLACE = ("qa", "a" * 32, "b" * 32, "mail:smtp")
OLD, NEW = KvEntry("mail:smtp", b"old", None, '{"v":1}'), KvEntry("mail:smtp", b"new", None, '{"v":1}')
GONE = f"{KEY} is gone. Prepare the change again."
OTHER_OBJECT = f"{KEY} is another object than the one proposed."
OTHER_CHANGE = f"{KEY} is the proposal of another change."


class ProposalStore:
    """A bucket that holds this object; `size` is that of its listing, `lost` is gone after it."""

    def __init__(self, body: bytes | None, size: int | None = None, *, lost: bool = False) -> None:
        self.body, self.size, self.lost = body, size, lost

    def head(self, key: str) -> ObjectInfo | None:
        assert key == KEY
        size = self.size if self.size is not None else len(self.body or b"")
        return None if self.body is None else ObjectInfo(key, size, "etag", datetime(2026, 11, 30, tzinfo=UTC))

    def get(self, key: str) -> bytes:
        assert key == KEY
        if self.lost or self.body is None:
            raise ObjectMissing(key)
        return self.body


def change_of(body: bytes, **values: Any) -> KeyChange:
    environment = Environment(pk=1, slug="qa", account_id="a" * 32)
    namespace = Namespace(pk=2, environment=environment, namespace_id="b" * 32)
    found = {
        "name": "mail:smtp", "parts": ["value"], "new_key": False, "object_key": KEY,
        "object_sha256": proposals.digest(body),
    }  # fmt: skip
    return KeyChange(pk=5, namespace=namespace, **{**found, **values})


def opened(change: KeyChange, store: Any) -> Proposal:
    return proposals.opened(change, store, [keys.OPERATIONS])


def refused(change: KeyChange, store: Any) -> str:
    with pytest.raises(ProposalRefused) as error:
        opened(change, store)
    return str(error.value)


BODY = Proposal(PLACE, OLD, NEW).sealed(keys.RECIPIENTS)
CREATED = Proposal(PLACE, None, NEW).sealed(keys.RECIPIENTS)


def test_the_proposal_that_the_change_names_is_opened() -> None:
    assert opened(change_of(BODY), ProposalStore(BODY)) == Proposal(PLACE, OLD, NEW)
    created = change_of(CREATED, new_key=True, parts=["value", "metadata"])
    assert opened(created, ProposalStore(CREATED)) == Proposal(PLACE, None, NEW)


def test_an_object_that_is_not_there_is_not_opened() -> None:
    assert refused(change_of(BODY, object_sha256=""), ProposalStore(BODY)) == "The proposal is not made yet."
    assert refused(change_of(BODY), ProposalStore(None)) == GONE
    assert refused(change_of(BODY), ProposalStore(BODY, lost=True)) == GONE


def test_another_object_is_not_opened_and_a_large_one_not_even_read() -> None:
    assert refused(change_of(BODY), ProposalStore(CREATED)) == OTHER_OBJECT
    assert proposals.LONGEST == 8 * 1024 * 1024
    opened(change_of(BODY), ProposalStore(BODY, proposals.LONGEST))
    assert refused(change_of(BODY), ProposalStore(BODY, proposals.LONGEST + 1, lost=True)) == OTHER_OBJECT


@pytest.mark.parametrize(
    "values", [{"name": "mail:imap"}, {"parts": ["value", "metadata"]}, {"parts": []}, {"new_key": True}]
)
def test_the_proposal_of_another_change_is_not_opened(values: dict[str, object]) -> None:
    assert refused(change_of(BODY, **values), ProposalStore(BODY)) == OTHER_CHANGE


@pytest.mark.parametrize("which", range(4))
def test_a_proposal_for_another_place_is_not_opened(which: int) -> None:
    place: Any = tuple("c" if number == which else part for number, part in enumerate(PLACE))
    body = Proposal(place, OLD, NEW).sealed(keys.RECIPIENTS)
    assert refused(change_of(body), ProposalStore(body)) == OTHER_CHANGE


def test_what_this_process_cannot_decrypt_is_not_opened() -> None:
    with pytest.raises(ProposalRefused) as error:
        proposals.unsealed(BODY, KEY, [keys.STRANGER])
    assert str(error.value) == f"{KEY} cannot be opened by this process."
    assert isinstance(error.value.__cause__, archive.Damaged)
    assert proposals.unsealed(BODY, KEY, [keys.STRANGER, keys.OFFLINE]).old == OLD


def entry(data: bytes = b"new", expiration: int | None = None, metadata: str | None = None) -> KvEntry:
    return KvEntry("mail:smtp", data, expiration, metadata)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (None, entry(), ["value"]), (None, entry(metadata="1"), ["value", "metadata"]),
        (None, entry(expiration=5), ["value", "expiration"]),
        (None, entry(expiration=5, metadata="1"), ["value", "metadata", "expiration"]),
        (entry(), entry(), []), (entry(), entry(b"x"), ["value"]), (entry(), entry(metadata="1"), ["metadata"]),
        (entry(metadata="1"), entry(), ["metadata"]), (entry(expiration=5), entry(), ["expiration"]),
        (entry(b"x", 5, "1"), entry(), ["value", "metadata", "expiration"]),
    ],
)  # fmt: skip
def test_the_parts_of_a_change_are_those_that_differ(old: KvEntry | None, new: KvEntry, parts: list[str]) -> None:
    assert Proposal(PLACE, old, new).parts == parts


def test_the_ciphertext_shows_nothing_and_is_another_each_time() -> None:
    assert Proposal(PLACE, OLD, NEW).sealed(keys.RECIPIENTS) != BODY
    assert b"mail:smtp" not in BODY
    plain = json.loads(b"".join(archive.decrypt(iter([BODY]), [keys.OFFLINE])))
    assert sorted(plain) == ["account_id", "environment", "format", "key", "namespace_id", "new", "old"]
