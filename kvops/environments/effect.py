"""How a definition takes effect, the one of environments and that of the policy.

Without one in force a definition takes effect at once. Afterwards it becomes a prepared change that an operator
submits and a reviewer decides.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from django.db import connection, transaction
from django.db.models import Model, ProtectedError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops.approvals import evidence, gate as approval_gate, prepared_changes
from kvops.environments.toml import DefinitionRefused, Fields, TomlTable, differences, load
from kvops.models import ApprovalRequest, Person, PreparedChange
from kvops.wording import say

_MOST_IN_AUDIT_LOG = 20


class StillInUse(DefinitionRefused):
    """A row that the definition omits has runs, scans, backups, checks or requests, which are kept."""


@dataclass(frozen=True)
class Applied:
    """The changes of an apply, in words; empty if the definition was already in force."""

    changes: tuple[str, ...]


class Definition(ABC):
    """All that one file defines: a new definition, or the one in force."""

    kind: ClassVar[ApprovalRequest.Kind]
    action: ClassVar[Action]
    table: ClassVar[str]
    """The table that is locked while a definition takes effect."""
    overtaken: ClassVar[str]

    @classmethod
    @abstractmethod
    def read(cls, top: TomlTable) -> Self:
        """The definition in a TOML text or a prepared change. Raises DefinitionRefused."""

    @classmethod
    @abstractmethod
    def in_force(cls) -> Self:
        """The definition in force."""

    @classmethod
    @abstractmethod
    def exists(cls) -> bool:
        """Whether a definition was put in force before."""

    @abstractmethod
    def as_data(self) -> dict[str, object]:
        """The definition in the shape of the TOML, every field spelled out: `read` takes the JSON of it."""

    @abstractmethod
    def things(self) -> Mapping[str, Fields]:
        """Every thing it defines, by a name for people, with the fields that may change."""

    def insist_allowed(self) -> None:
        """Raise DefinitionRefused if the definition must not replace the one in force."""
        return

    def insist_kept(self, _removed: Collection[str]) -> None:
        """Raise DefinitionRefused if the definition lacks a thing that only `removed` may take away."""
        return

    def look(self) -> Sequence[str]:
        """Facts from outside the database that a reviewer is shown besides the changes."""
        return ()

    @abstractmethod
    def write(self) -> None:
        """Make the rows equal to the definition, within the caller's transaction. Raises StillInUse."""

    @abstractmethod
    def keep(self, text: str, actor: log.Actor) -> str:
        """Keep the canonical text of the definition put in force. Returns the subject of the audit entry."""

    @classmethod
    def apply(cls, text: str, *, actor: log.Actor, removed: Collection[str] = ()) -> Applied | PreparedChange:
        """Put the definition of a TOML text in force, or prepare the change for a second person.

        `removed` names things that the text lacks on purpose. Raises DefinitionRefused and its kinds, and
        ApprovalRefused.
        """
        wanted = cls.read(load(text))
        wanted.insist_kept(removed)
        changes = wanted._changes()
        if cls.exists():
            wanted.insist_allowed()
            if not changes:
                return Applied(())
        shown = wanted.look()
        if cls.exists():
            with log.transaction():  # a dry run: the database's refusals are found before a reviewer decides
                wanted.write()
                transaction.set_rollback(True)
            return prepared_changes.prepare_change(
                cls.kind,
                definition=wanted.as_data(),
                summary=[*changes, *shown],
                actor=actor,
                insist=lambda: wanted._insist_kept_still(removed),
            )
        with log.transaction():
            cls._lock()
            if cls.exists():
                raise DefinitionRefused(cls.overtaken)
            wanted._put_in_force(changes, actor)
        return Applied(tuple(changes))

    @classmethod
    def wanted_by(cls, change: PreparedChange) -> Self:
        """The definition that a prepared change asks for. Raises DefinitionRefused."""
        return cls.read(TomlTable(json.loads(change.definition)))

    def under_lock(self, _change: PreparedChange) -> Self:
        """The definition, derived again if it builds on the one in force, which stays as it is from now on."""
        return self

    def mark(self, change: PreparedChange) -> None:
        """Note on the rows that they come from this change, within the caller's transaction."""
        return

    @classmethod
    def use(cls, request: ApprovalRequest, *, by: Person) -> Applied:
        """Put an approved change in force. Raises ApprovalRefused and the kinds of DefinitionRefused."""
        change = PreparedChange.objects.get(approval=request)
        wanted = cls.wanted_by(change)
        if changed := [line for line in wanted.look() if line not in change.summary]:
            raise approval_gate.ApprovalRefused(
                say(_("%(what)s now, without an approval. Apply the file again."), what=changed[0])
            )
        with log.transaction():
            cls._lock()
            wanted = wanted.under_lock(change)
            wanted.insist_allowed()
            changes = wanted._changes()
            prepared_changes.claim_change(change, by=by)
            wanted._put_in_force(changes, by.actor)
            wanted.mark(change)
        return Applied(tuple(changes))

    def _insist_kept_still(self, removed: Collection[str]) -> None:
        """The same under the lock: a change that took effect meanwhile counts."""
        self._lock()
        self.insist_kept(removed)

    def _changes(self) -> list[str]:
        return differences(self.in_force().things(), self.things())

    @classmethod
    def _lock(cls) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {cls.table} IN SHARE ROW EXCLUSIVE MODE")

    def _put_in_force(self, changes: Sequence[str], actor: log.Actor) -> None:
        self.write()
        text = evidence.canonical_evidence(self.as_data())
        log.record(
            self.action,
            actor=actor,
            subject=self.keep(text, actor),
            digest=evidence.digest_of(text),
            details={"changes": _for_the_audit_log(changes)},
        )


def remove(row: Model, sentence: Promise, **names: object) -> None:
    """Delete a row that the definition leaves out. Raises StillInUse, with the sentence, where others refer to it."""
    try:
        row.delete()
    except ProtectedError as error:
        raise StillInUse(say(sentence, **names)) from error


def _for_the_audit_log(changes: Sequence[str]) -> list[str]:
    """The changes as an audit entry can hold them: the first twenty, shortened, and the number of the rest."""
    short = [change[:200] for change in changes[:_MOST_IN_AUDIT_LOG]]
    return short if len(changes) <= _MOST_IN_AUDIT_LOG else [*short, f"and {len(changes) - _MOST_IN_AUDIT_LOG} more"]
