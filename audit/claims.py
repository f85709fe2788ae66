"""The claims that other tables make about the audit log, for its verification.

A chain that was emptied, cut or hashed again is consistent in itself. Rows of other tables then have no entry, or are
newer than the last one, and heads that were kept elsewhere name other hashes. The tables belong to packages above this
one: `AUDIT_ROWS` and `AUDIT_HEADS` of the settings name them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.transaction import atomic
from django.utils.module_loading import import_string

from audit.actions import Action
from audit.chain import ChainProblem
from audit.models import Entry, Head

ROWS_SHOWN = 20  # rows without an entry that are named, per claim; the others are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class RowClaim:
    """Each row of a table, or each in one of these states, has an entry of this action about `kind:id`.

    With `sort`, only rows with one of the values `sorts` in that column: rows of one table may be of several kinds.
    """

    table: str
    kind: str
    action: Action
    column: str = ""
    values: tuple[str, ...] = ()
    sort: str = ""
    sorts: tuple[str, ...] = ()
    moment: str = ""
    """The column with the database's time of the transaction that also wrote the entry."""
    given: str = ""
    """Only rows with a value in this column."""
    about: str = "id"
    """The column with the key of the subject."""
    same: tuple[tuple[str, str], ...] = ()
    """Columns of the entry, each with the column of the row that it equals."""
    told: tuple[tuple[str, str], ...] = ()
    """Members of the entry's details, each with the column of the row that it equals. Neither may be there."""

    @property
    def columns(self) -> list[str]:
        """The columns that the comparison reads."""
        compared = [column for _name, column in (*self.same, *self.told)]
        return ["id", *filter(None, (self.column, self.sort, self.moment, self.given)), self.about, *compared]


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A head of the log that was kept elsewhere: its place, the number of its entry and the hash in hex."""

    place: str
    sequence: int
    hash: str


class NotReadable(Exception):
    """A place that keeps heads cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class LogComparison:
    """The problems that the claims show, the number of heads that were compared, and the claims not looked at."""

    problems: tuple[ChainProblem, ...]
    heads: int
    unread: tuple[str, ...]


@cache
def row_claims() -> tuple[RowClaim, ...]:
    """The claims of all tables."""
    return tuple(claim for name in settings.AUDIT_ROWS for claim in import_string(name))


def compare() -> LogComparison:
    """Compare the log with every claim. A table without a right to read it is named as not compared."""
    found: list[ChainProblem] = []
    heads, unread = 0, []
    for claim in row_claims():
        try:
            with atomic():
                found += _row_problems(claim)
        except DatabaseError:
            unread.append(f"the rows of {claim.table}: this role may not read them")
    for name in settings.AUDIT_HEADS:
        known: Callable[[], Iterable[KnownHead]] = import_string(name)
        try:
            with atomic():
                for head in known():
                    heads += 1
                    found += _head_problems(head)
        except DatabaseError:
            unread.append(f"{name}: this role may not read it")
        except NotReadable as why:
            unread.append(str(why))
    return LogComparison(tuple(found), heads, tuple(dict.fromkeys(unread)))


@dataclass(frozen=True, slots=True)
class RowsFound:
    """The rows that no entry agrees with: the first with their subjects, the number of the others, the newest key."""

    first: tuple[tuple[int, str], ...] = ()
    more: int = 0
    newest: int = 0


def without_entry(claim: RowClaim) -> RowsFound:
    """The rows of the claim that no entry agrees with."""
    name = connection.ops.quote_name
    where, among = _which(claim)
    agrees = [f"entry.{name(mine)} = claimed.{name(column)}" for mine, column in claim.same]
    agrees += [f"entry.details ->> %s IS NOT DISTINCT FROM claimed.{name(column)}::text" for _, column in claim.told]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, {name(claim.about)}, count(*) OVER (), max(id) OVER ()"  # noqa: S608
            f" FROM {name(claim.table)} AS claimed WHERE {where} AND NOT EXISTS ("
            f" SELECT FROM audit_entry AS entry WHERE subject = %s || claimed.{name(claim.about)}::text AND action = %s"
            f"{''.join(f' AND {one}' for one in agrees)}) ORDER BY id LIMIT {ROWS_SHOWN}",
            [*among, f"{claim.kind}:", claim.action, *(member for member, _column in claim.told)],
        )
        found = cursor.fetchall()
    if not found:
        return RowsFound()
    *_row, all_of_them, newest = found[0]
    first = tuple((row, f"{claim.kind}:{key}") for row, key, *_counts in found)
    return RowsFound(first, all_of_them - len(first), newest)


def _which(claim: RowClaim) -> tuple[str, list[list[str]]]:
    """The condition for the rows of the claim, with its parameters."""
    name = connection.ops.quote_name
    where = f"{name(claim.column)} = ANY(%s)" if claim.column else "%s::text[] IS NOT NULL"
    where += f" AND {name(claim.sort)} = ANY(%s)" if claim.sort else " AND %s::text[] IS NOT NULL"
    where += f" AND {name(claim.given)} IS NOT NULL" if claim.given else ""
    return where, [list(claim.values), list(claim.sorts)]


def _row_problems(claim: RowClaim) -> Iterator[ChainProblem]:
    name = connection.ops.quote_name
    found = without_entry(claim)
    more = f" (more such rows: {found.more})" if found.more else ""
    for row, subject in found.first:
        which = subject if claim.about == "id" else f"{subject} in row {row}"
        agrees = " and agrees with it" if claim.same or claim.told else ""
        yield ChainProblem(0, f"{claim.table} has {which}, and no entry “{claim.action}” is about it{agrees}{more}")
    if claim.moment:
        where, among = _which(claim)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT max({name(claim.moment)}) FROM {name(claim.table)} WHERE {where}", among)  # noqa: S608
            newest = cursor.fetchone()[0]
        yield from _tail_problems(claim, newest)


def _tail_problems(claim: RowClaim, newest: datetime | None) -> Iterator[ChainProblem]:
    # The head is read after the rows: an entry commits with its row, so it is not older than any row seen.
    head = Head.objects.first()
    if newest is not None and head is not None and head.at < newest:
        yield ChainProblem(
            head.seq + 1, f"entries are missing: {claim.table} has a row of {newest}, the last entry is of {head.at}"
        )


def _head_problems(head: KnownHead) -> Iterator[ChainProblem]:
    if head.sequence == 0:
        return
    ours = Entry.objects.filter(seq=head.sequence).values_list("row_hash", flat=True).first()
    if ours is None:
        yield ChainProblem(head.sequence, f"the entry is missing; {head.place} names it as the head of its time")
    elif bytes(ours).hex() != head.hash:
        yield ChainProblem(head.sequence, f"the chain was hashed again: {head.place} names another hash of the entry")
