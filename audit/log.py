"""The one way to write the audit log: open ``transaction()``, change the state, call ``record()``.

The chain lock serialises writers until they commit. Entries are therefore collected, and written as the last statements
of the transaction. No network call belongs inside a transaction.
"""

import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypedDict

from django.db import connection
from django.db.models import Func
from django.db.models.functions import Greatest
from django.db.transaction import atomic

from audit.actions import Action
from audit.chain import JSON, Content, NotRecordableError, canonical_entry, entry_hash
from audit.models import MAX_LENGTH, Entry, Head
from audit.subjects import SYSTEM


class OutsideTransactionError(RuntimeError):
    """A change that must be recorded was made outside ``audit.log.transaction()``."""


class NestedTransactionError(RuntimeError):
    """``audit.log.transaction()`` or ``refusal()`` was called inside an open transaction."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor of an entry: the key of a person, if there is one, and a text that outlives the person's row."""

    id: int | None
    text: str

    @classmethod
    def command(cls) -> Self:
        """The actor for a command that a person runs in a shell."""
        return cls(None, f"cli:{who()}")

    @classmethod
    def system(cls, name: str) -> Self:
        """The actor for a part of the product that acts by itself, such as the sweep."""
        return cls(None, f"{SYSTEM}{name}")


@dataclass(slots=True)
class _Collector:
    depth: int  # depth of the transaction's own block; deeper blocks are savepoints
    drafts: list[Content] = field(default_factory=list)


_open: ContextVar[_Collector | None] = ContextVar("audit_transaction", default=None)
_UNPLACED = datetime(1970, 1, 1, tzinfo=UTC)


class Subject(TypedDict):
    """What an entry is about, as ``record(**subject)`` takes it."""

    environment: str
    subject: str
    subject_label: str


def subject(kind: str, pk: int, label: str = "", *, environment: str) -> Subject:
    """The row of a kind, with its name in words."""
    return {"environment": environment, "subject": f"{kind}:{pk}", "subject_label": label[:200]}


@contextmanager
def transaction() -> Iterator[None]:
    """Open the one transaction of a feature function; its entries commit with the change they record.

    Raises NestedTransactionError inside another ``transaction()`` and RuntimeError inside any ``atomic()``.
    """
    if _open.get() is not None:
        raise NestedTransactionError(
            "audit.log.transaction() is open already. Only the outermost feature function opens it; "
            "what it calls says audit.log.insist()."
        )
    with atomic(durable=True):
        collector = _Collector(depth=len(connection.atomic_blocks))
        token = _open.set(collector)
        try:
            yield
        finally:
            _open.reset(token)
        _write(collector.drafts)


def insist() -> None:
    """Raise OutsideTransactionError unless ``transaction()`` is open."""
    _collector()


def record(
    action: Action,
    *,
    actor: Actor,
    environment: str = "",
    subject: str = "",
    subject_label: str = "",
    digest: str = "",
    details: Mapping[str, JSON] | None = None,
) -> None:
    """Add an entry to the open transaction. Never put the value of a key or a token into it.

    ``subject`` is ``kind:id``, such as ``stage:12``; ``subject_label`` is its name in words. Raises
    OutsideTransactionError, NotRecordableError, and ValueError for an unknown action.
    """
    collector = _collector()
    if len(connection.atomic_blocks) != collector.depth:
        raise OutsideTransactionError(
            "record() was called inside a savepoint, which could roll back and leave an entry about "
            "something that did not happen. Call it after the inner atomic() block."
        )
    draft = Content(
        seq=0,
        at=_UNPLACED,
        action=Action(action).value,
        actor_id=actor.id,
        actor=actor.text,
        environment=environment,
        subject=subject,
        subject_label=subject_label,
        digest=digest,
        details=deepcopy(dict(details or {})),  # the caller may change its own dict later
    )
    _refuse_long_or_missing(draft)
    canonical_entry(draft)  # encode now: an error then has the caller in its traceback
    collector.drafts.append(draft)


def refusal(
    action: Action,
    *,
    actor: Actor,
    environment: str = "",
    subject: str = "",
    subject_label: str = "",
    digest: str = "",
    details: Mapping[str, JSON] | None = None,
) -> None:
    """Record a refusal in its own transaction, after the refusing transaction has rolled back.

    Raises NestedTransactionError or RuntimeError inside an open transaction, because its rollback would also remove the
    entry. Otherwise like ``record()``.
    """
    with transaction():
        record(
            action,
            actor=actor,
            environment=environment,
            subject=subject,
            subject_label=subject_label,
            digest=digest,
            details=details,
        )


def _collector() -> _Collector:
    collector = _open.get()
    if collector is None:
        raise OutsideTransactionError("Open audit.log.transaction() first: the change and its entry commit together.")
    return collector


def _refuse_long_or_missing(draft: Content) -> None:
    if not draft.actor:
        raise NotRecordableError("An entry needs an actor.")
    for name, limit in MAX_LENGTH.items():
        if len(getattr(draft, name)) > limit:
            raise NotRecordableError(f"The {name} of an entry has more than {limit} characters.")


def _write(drafts: list[Content]) -> None:
    if not drafts:
        return
    # If the clock stepped back, use the head's time, so that time follows the sequence number.
    now = Greatest("at", Func(function="clock_timestamp"))
    head = Head.objects.select_for_update().annotate(now=now).get()
    entries, last_hash = [], bytes(head.hash)
    for seq, draft in enumerate(drafts, start=head.seq + 1):
        content = replace(draft, seq=seq, at=head.now)
        written = canonical_entry(content)
        row_hash = entry_hash(last_hash, written)
        entries.append(_entry(content, written, last_hash, row_hash))
        last_hash = row_hash
    Entry.objects.bulk_create(entries)


def _entry(content: Content, written: bytes, prev_hash: bytes, row_hash: bytes) -> Entry:
    return Entry(
        seq=content.seq,
        at=content.at,
        action=content.action,
        actor_id=content.actor_id,
        actor=content.actor,
        environment=content.environment,
        subject=content.subject,
        subject_label=content.subject_label,
        digest=content.digest,
        details=content.details,
        canonical=written,
        prev_hash=prev_hash,
        row_hash=row_hash,
    )


LOGIN_UID = Path("/proc/self/loginuid")
UNSET = 2**32 - 1


def who() -> str:
    """`name@host` of the real uid, followed by the kernel's login uid if it is another one, as it is behind sudo."""
    uid, login = os.getuid(), _login_uid()
    behind = "" if login is None or login == uid else f" (login {_name(login)})"
    return f"{_name(uid)}@{socket.gethostname()}{behind}"[:190]


def _login_uid() -> int | None:
    """The uid that signed in to this machine; None if the kernel does not know it."""
    try:
        uid = int(LOGIN_UID.read_text())
    except (OSError, ValueError):
        return None
    return None if uid == UNSET else uid


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
