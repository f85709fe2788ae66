"""The run of a bulk change: the run of a restore in which each entry gets an expiration or a mark before the write.

A key is written only if KV still holds the entry of the backup: value, metadata and expiration. A key that is gone is
never created again, before or after the write.
"""

from dataclasses import replace

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit.actions import Action
from backups.changes.bulk import evidence as bulk_evidence
from backups.generations.export import entry_digest
from backups.generations.reader import Wanted
from backups.models import BulkChange, Restore, RestoreChunk, RestoreEntry
from backups.models.bulk_changes import CLOSEST
from backups.restores import before_write, safety_backup
from backups.restores.moves import BULK_CHANGES
from backups.restores.run import RestoreRun, step_of
from backups.restores.verification import Settler
from backups.restores.write import Putter
from kvops import clock
from kvops.cloudflare import KvEntry, marked_metadata
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError

STALE = gettext_noop(
    "The keys to change differ from the approved ones. Nothing more is written: end the change early and choose the "
    "keys again."
)
SOON = gettext_noop(
    "The keys expire within 15 minutes, so no more of them is written: KV could delete them before they are read back. "
    "End the change early, and make another one for the keys that are left."
)


def run_bulk_change(lease: Lease) -> Again | Done | None:
    """One step of a bulk change. Raises RunError if the target, a right or the backup is no longer valid."""
    return step_of(lease, BulkRun)


class BulkPutter(Putter):
    """Writes the chunks of one bulk change."""

    absent = RestoreEntry.Outcome.GONE
    lost = RestoreEntry.Outcome.LOST

    def to_write(self, backup: KvEntry) -> KvEntry | None:
        """The entry of the backup with the new expiration or the mark."""
        return changed(self.restore.bulk, backup)


class BulkSettler(Settler):
    """Compares the chunks of one bulk change with KV."""

    absent = RestoreEntry.Outcome.GONE
    lost = RestoreEntry.Outcome.LOST

    def expected(self, one: Wanted) -> bytes | None:
        """The digest of the changed entry, made again from the backup."""
        entry = changed(self.restore.bulk, self.backup.take(one))
        return None if entry is None else entry_digest(entry, self._key)


class BulkRun(RestoreRun):
    """The work of one step on a bulk change."""

    putter = BulkPutter
    settler = BulkSettler
    stale = STALE
    compares_with_values = True

    def begin(self) -> Again | None:
        """Before the first write, derive the evidence, and wait some minutes after the backup."""
        emergency.insist_none(self.restore.environment)
        gone_in = self.until_gone()
        if gone_in > 0:
            return Again(gone_in, gettext_noop("Waiting: KV may still show the deleted keys."))
        self.derive()
        wait = safety_backup.apart(self.restore.generation)
        if wait is None:
            self.go_on()
        return wait

    def _put(self, chunk: RestoreChunk) -> None:
        """Write the chunk, unless its keys would expire too soon. Raises RunError."""
        at = self.restore.bulk.expiration
        if at is not None and at - clock.now().timestamp() < CLOSEST:
            raise RunError("expires_soon", SOON)
        super()._put(chunk)

    def insist_as_approved(self) -> None:
        """Derive the evidence that the reviewer saw. Raises RunError if it differs."""
        before_write.insist_as_approved(self.restore, bulk_evidence.build, STALE)

    def close(self, counts: dict[str, int]) -> None:
        """Writing -> done, within the checkpoint that ends the run."""
        BULK_CHANGES.move(
            self.restore,
            [Restore.State.WRITING],
            Restore.State.DONE,
            Action.BULK_FINISHED,
            actor=self.lease.actor,
            values={**counts, "finished_at": Now()},
            details={**counts},
        )


def changed(bulk: BulkChange, entry: KvEntry) -> KvEntry | None:
    """The entry with the expiration or the mark; None if its metadata takes no mark.

    An expiration without its time changes nothing: the start has fixed it before a run exists.
    """
    if bulk.member:
        metadata = marked_metadata(entry.metadata, bulk.member, bulk.value)
        return None if metadata is None else replace(entry, metadata=metadata)
    return entry if bulk.expiration is None else replace(entry, expiration=bulk.expiration)
