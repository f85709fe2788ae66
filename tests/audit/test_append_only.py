"""Each rule the database keeps for the record, broken once with plain SQL."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic
from django.utils import timezone

from audit import log
from audit.chain import GENESIS, Content, entry_hash
from audit.models import Entry, Head
from tests.audit.make import CONTENT, link, sql, triggers_off, write

pytestmark = pytest.mark.django_db

INSERT = """
INSERT INTO audit_entry (seq, at, action, actor_id, actor, environment, subject, subject_label,
                         digest, details, canonical, prev_hash, row_hash)
VALUES (%s, %s, 'scan.started', 7, 'operator@example.com', 'qa', 'scan:3', 'SETTINGS', 'ab',
        '{"keys": 3, "binding": "SETTINGS"}', %s, %s, %s)
"""


def refused(statement: str, *params: int | str | bytes | datetime, match: str) -> None:
    with pytest.raises(IntegrityError, match=match), atomic():
        sql(statement, *params)


def following() -> Content:
    """The content of an entry that may follow the head."""
    return replace(CONTENT, seq=Head.objects.get().seq + 1, at=timezone.now())


def insert(content: Content, *, prev_hash: bytes) -> None:
    made = link(content, prev_hash)
    with atomic():
        sql(INSERT, content.seq, content.at, made.canonical, prev_hash, made.row_hash)


def head_hash() -> bytes:
    return bytes(Head.objects.get().hash)


@pytest.fixture(autouse=True)
def two_entries() -> None:
    write()
    write()


def test_an_entry_that_continues_the_head_moves_it() -> None:
    insert(following(), prev_hash=head_hash())
    assert Head.objects.get().seq == 3


def test_an_entry_cannot_be_changed() -> None:
    refused("UPDATE audit_entry SET actor = 'x' WHERE seq = 1", match="UPDATE on audit_entry")


def test_an_entry_cannot_be_deleted() -> None:
    refused("DELETE FROM audit_entry WHERE seq = 2", match="DELETE on audit_entry")


def test_the_entries_cannot_be_truncated() -> None:
    refused("TRUNCATE audit_entry", match="TRUNCATE on audit_entry")


def test_a_model_cannot_change_or_delete_an_entry_either() -> None:
    with pytest.raises(IntegrityError), atomic():
        Entry.objects.update(actor="x")
    with pytest.raises(IntegrityError), atomic():
        Entry.objects.get(seq=1).delete()


@pytest.mark.parametrize("seq", [-1, 0, 4, 1000])
def test_a_sequence_number_cannot_be_chosen(seq: int) -> None:
    with pytest.raises(IntegrityError, match="does not continue"):
        insert(replace(following(), seq=seq), prev_hash=head_hash())


def test_a_sequence_number_cannot_be_used_again() -> None:
    with pytest.raises(IntegrityError):
        insert(replace(following(), seq=2), prev_hash=Entry.objects.get(seq=1).link().row_hash)


@pytest.mark.parametrize("prev_hash", [GENESIS, b"\1" * 32])
def test_an_entry_cannot_follow_anything_but_the_head(prev_hash: bytes) -> None:
    with pytest.raises(IntegrityError, match="does not continue"):
        insert(following(), prev_hash=prev_hash)


def test_an_entry_cannot_have_the_hash_of_other_bytes() -> None:
    hash_ = head_hash()
    made = link(following(), hash_)
    refused(INSERT, 3, timezone.now(), b"other", hash_, made.row_hash, match="row_hash is not")


@pytest.mark.parametrize(
    "other",
    [
        {"action": "scan.finished"},
        {"actor_id": None},
        {"actor": "reviewer@example.com"},
        {"environment": "production"},
        {"subject": "scan:4"},
        {"subject_label": ""},
        {"digest": "ac"},
        {"details": {"keys": 4, "binding": "SETTINGS"}},
    ],
)
def test_an_entry_cannot_have_the_bytes_of_another(other: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="do not parse to the columns"):
        insert(replace(following(), **other), prev_hash=head_hash())


def test_the_bytes_of_an_entry_name_its_own_number_and_time() -> None:
    for other in (replace(following(), seq=4), replace(following(), at=timezone.now() - timedelta(seconds=1))):
        made, mine = link(other, head_hash()), following()
        refused(INSERT, 3, mine.at, made.canonical, head_hash(), made.row_hash, match="do not parse to the columns")


def test_bytes_after_the_last_field_are_refused() -> None:
    content, hash_ = following(), head_hash()
    longer = link(content, hash_).canonical + b" "
    refused(INSERT, 3, content.at, longer, hash_, entry_hash(hash_, longer), match="do not parse to the columns")


def test_every_entry_that_may_be_recorded_passes() -> None:
    odd = log.Actor(None, "名前 “x” \\ \n 😀")
    write(actor=odd, subject="key:é\u202e", details={"n": -(10**30), "deep": [{"ü": None}, True, "\x7f"]})
    assert Head.objects.get().seq == 3


@pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_an_entry_cannot_be_dated_back_or_ahead(off: timedelta) -> None:
    with pytest.raises(IntegrityError, match="does not continue"):
        insert(replace(following(), at=timezone.now() + off), prev_hash=head_hash())


def test_an_insert_that_stores_nothing_does_not_move_the_head() -> None:
    made = link(replace(following(), seq=2), head_hash())
    statement = INSERT + " ON CONFLICT DO NOTHING"
    sql(statement, 2, timezone.now(), made.canonical, head_hash(), made.row_hash)
    assert Head.objects.get().seq == 2


def test_an_entry_needs_no_second_look_when_it_comes_in_a_batch_with_a_wrong_one() -> None:
    first = link(following(), head_hash())
    second = link(replace(first.content, seq=4), head_hash())
    values = [(3, first), (4, second)]
    statement = INSERT + INSERT.partition("VALUES")[2].join([",", ""])
    params = [
        value for seq, made in values for value in (seq, made.content.at, made.canonical, made.prev_hash, made.row_hash)
    ]
    refused(statement, *params, match="Audit entry 4 does not continue")
    assert Head.objects.get().seq == 2


def test_the_head_cannot_go_back() -> None:
    first = Entry.objects.get(seq=1).link()
    statement = "UPDATE audit_head SET seq = 1, hash = %s, at = %s"
    refused(statement, first.row_hash, first.content.at, match="moves only with a new entry")


def test_the_head_cannot_go_ahead_of_the_entries() -> None:
    refused("UPDATE audit_head SET seq = 3", match="moves only with a new entry")


def test_the_time_of_the_head_cannot_be_moved() -> None:
    refused("UPDATE audit_head SET at = now() + interval '1 day'", match="moves only with a new")


@pytest.mark.parametrize(
    ("seq", "prev_hash", "change"),
    [
        (4, None, "seq = 4, hash = e.row_hash, at = e.at"),
        (3, GENESIS, "seq = 3, hash = e.row_hash, at = e.at"),
        (3, None, "seq = 3, hash = e.prev_hash, at = e.at"),
        (3, None, "seq = 3, hash = e.row_hash"),
        (3, None, "seq = 3, hash = e.row_hash, at = e.at, id = 2"),
    ],
)
def test_the_head_takes_only_the_very_entry_that_follows_it(seq: int, prev_hash: bytes | None, change: str) -> None:
    with triggers_off("audit_entry"):
        insert(replace(following(), seq=seq), prev_hash=prev_hash or head_hash())
    refused(f"UPDATE audit_head SET {change} FROM audit_entry e WHERE e.seq = {seq}", match="moves only with")


def test_the_head_cannot_be_deleted() -> None:
    refused("DELETE FROM audit_head", match="DELETE on audit_head")


def test_the_head_cannot_be_truncated() -> None:
    refused("TRUNCATE audit_head", match="TRUNCATE on audit_head")


def test_a_second_head_cannot_be_added() -> None:
    statement = "INSERT INTO audit_head (id, seq, hash, at) VALUES (2, 0, 'x', now())"
    refused(statement, match="INSERT on audit_head")


def test_a_second_head_cannot_be_added_by_the_owner_either() -> None:
    with triggers_off("audit_head"):
        refused(
            "INSERT INTO audit_head (id, seq, hash, at) VALUES (2, 0, 'x', now())",
            match="audit_head_is_one_row",
        )
