"""Entries, links and damage for the tests of the record."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from django.db import connection

from audit import log
from audit.actions import Action
from audit.chain import GENESIS, JSON, Content, Link, canonical_entry, entry_hash

OPERATOR = log.Actor(7, "operator@example.com")
CONTENT = Content(
    seq=1,
    at=datetime(2026, 11, 25, 9, 0, tzinfo=UTC),
    action="scan.started",
    actor_id=7,
    actor="operator@example.com",
    environment="qa",
    subject="scan:3",
    subject_label="SETTINGS",
    digest="ab",
    details={"keys": 3, "binding": "SETTINGS"},
)


def link(content: Content, prev_hash: bytes) -> Link:
    """A correct link with this content after another."""
    written = canonical_entry(content)
    return Link(
        content=content,
        canonical=written,
        prev_hash=prev_hash,
        row_hash=entry_hash(prev_hash, written),
    )


def links(count: int) -> Iterator[Link]:
    """A correct chain, one minute between entries."""
    prev_hash = GENESIS
    for number in range(1, count + 1):
        at = CONTENT.at + timedelta(minutes=number)
        made = link(replace(CONTENT, seq=number, at=at), prev_hash)
        yield made
        prev_hash = made.row_hash


def write(
    action: Action = Action.SCAN_STARTED,
    *,
    actor: log.Actor = OPERATOR,
    environment: str = "qa",
    subject: str = "scan:3",
    details: dict[str, JSON] | None = None,
) -> None:
    """Record one entry in a transaction of its own."""
    with log.transaction():
        log.record(action, actor=actor, environment=environment, subject=subject, details=details)


@contextmanager
def triggers_off(table: str) -> Iterator[None]:
    """What only the owner of a table can do."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks still to come cannot be altered
    sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def sql(statement: str, *params: int | str | bytes | datetime) -> None:
    """Run one statement on the test's own connection."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
