"""How the objects of a backup are deleted: the manifest first, then the others in the reverse order of writing.

From the status *deleting* on, a backup is good for nothing. Each object gets its audit entry before its delete. The
backup is *deleted* when the store has none of its objects. If a delete fails, the run ends with the reason, and the
same run continues from there. The caller brings the right to delete: an approved prune request (`run`), or the
standing approval of an investigation. The proposal of a change is no backup: its run deletes it once the change is
over, by `erase_proposal_permanently`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit.actions import Action
from audit.chain import JSON
from backups.bucket import access as bucket_access
from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store
from backups.models import Generation, StoredObject
from kvops.models import Environment
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from kvops.wording import say

Status = Generation.Status
_ERASING, _DELETED = gettext_noop("Erasing backup %(n)s"), gettext_noop("Backup %(n)s is deleted")


class Erasure(ABC):
    """The work of one step on backups to delete; `cursor["next"]` is the next object of the current backup."""

    def __init__(self, environment: Environment, lease: Lease, store: R2Store) -> None:
        self.environment, self.lease, self.store = environment, lease, store

    @abstractmethod
    def insist_rights(self) -> None:
        """Before each object, raise RunError unless the approval and both people's rights are still valid."""

    @abstractmethod
    def record(self, action: Action, generation: Generation, details: Mapping[str, JSON]) -> None:
        """Write an entry about the backup in the open transaction, with the person and the reason."""

    @abstractmethod
    def settled(self, generation: Generation) -> None:
        """Hook, in the transaction that marks the backup as deleted."""

    def cursor(self, **at: int) -> dict[str, Any]:
        """The position of the run."""
        return dict(at)

    def begin(self, generation: Generation, details: Mapping[str, JSON]) -> None:
        """Mark the backup as being deleted, in the open transaction."""
        found = Generation.objects.filter(pk=generation.pk, status=generation.status)
        if found.update(status=Status.DELETING) != 1:
            raise RunError("moved", gettext_noop("The backup has just changed. Try again."))
        self.record(Action.GENERATION_DELETING, generation, details)

    def delete(self, generation: Generation) -> bool:
        """Delete the objects; False if the step is over before all are gone.

        Raises Elsewhere if the backup is in another bucket, where its objects would stay.
        """
        bucket_access.insist_here(generation)
        keys = list(reversed(generation.every_object()))
        begun = int(self.lease.run.cursor.get("next", 0))
        for index in range(max(begun - 1, 0), len(keys)):
            if index >= begun:
                self._intend(generation, keys[index], index)
            self.insist_rights()
            with self.lease.fence():
                erase_permanently(self.store, keys[index])
            if self.lease.tired and index + 1 < len(keys):
                return False
        for key in keys:
            self.lease.keep()
            if self.store.head(key) is not None:
                sentence = _("%(key)s was deleted and is still in bucket %(bucket)s.")
                raise RunError("still_there", say(sentence, key=key, bucket=self.store.bucket))
        self._settle(generation, keys)
        return True

    def _intend(self, generation: Generation, key: str, index: int) -> None:
        """Write the audit entry before the delete."""
        with self.lease.checkpoint(
            cursor=self.cursor(next=index + 1),
            done=self.lease.run.done + 1,
            note=_ERASING % {"n": generation.pk},
        ):
            emergency.hold(self.environment)
            self.record(Action.OBJECT_DELETING, generation, {"object": key, "bucket": self.store.bucket})

    def _settle(self, generation: Generation, keys: list[str]) -> None:
        with self.lease.checkpoint(cursor=self.cursor(next=0), note=_DELETED % {"n": generation.pk}):
            found = Generation.objects.filter(pk=generation.pk, status=Status.DELETING)
            if found.update(status=Status.DELETED, deleted_at=Now()) != 1:
                raise RunError("moved", gettext_noop("The backup has just changed. Try again."))
            StoredObject.objects.filter(environment=self.environment, key__in=keys).delete()
            self.settled(generation)
            self.record(Action.GENERATION_DELETED, generation, {"objects": len(keys), "keys": generation.keys})


def erase_proposal_permanently(store: R2Store, lease: Lease, key: str) -> None:
    """Delete the object of a proposal, and look that it is gone. Raises RunError for another object, and StoreError."""
    if not key.startswith("proposals/"):
        raise RunError("wrong_target", gettext_noop("The object is no proposal."))
    with lease.fence():
        erase_permanently(store, key)
    if store.head(key) is not None:
        sentence = _("%(key)s was deleted and is still in bucket %(bucket)s.")
        raise RunError("still_there", say(sentence, key=key, bucket=store.bucket))
