"""The only way to a write: a run with the used approval of a restore, or of the deletion it undoes, chunk by chunk.

Values are streamed out of the verified backup, and each is compared by its digest with KV's answer when the backup
was made. `write` then writes one chunk. After the settle time everything is read back and compared (`verification`).
A chunk whose answer is unknown is never sent again blindly.

A bulk change is such a run, too: it overrides the parts that differ (`backups.changes.bulk.run`).

A restore of keys that a deletion of the same namespace sent less than five minutes ago waits: KV may still show them,
and they would count as existing.
"""

from django.db.models import Count, Max
from django.db.models.functions import Greatest, Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit.actions import Action
from backups.bucket import access as bucket_access, newest_manifest
from backups.execution import revalidation
from backups.execution.clients import Clients, open_clients
from backups.execution.live_values import difference, live_values
from backups.execution.prepaid import most_calls_for, reserve
from backups.generations.reader import GenerationReader, wanted
from backups.models import CleanupChunk, Generation, Restore, RestoreChunk, RestoreEntry
from backups.restores import (
    before_write,
    chunks as restore_chunks,
    safety_backup,
    undo as stage_undo,
)
from backups.restores.moves import move
from backups.restores.verification import Settler
from backups.restores.write import Putter
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.inventory import own_changes
from kvops.prefixes import common
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped
from kvops.wording import counted, say

State = RestoreChunk.State
Outcome = RestoreEntry.Outcome
BLOCK = 100
_CONFLICT = _(
    "%(name)s is there now and not as in the backup. Nothing was written, as this restore asks. Prepare another one "
    "that leaves such keys as they are, or overwrites them."
)
_UNREADABLE = _(
    "%(name)s cannot be read, because Cloudflare refuses its name. Nothing was written, as this restore asks. Prepare "
    "another one that leaves such keys as they are, or overwrites them."
)


def run_restore(lease: Lease) -> Again | Done | None:
    """One step of a restore or an undo. Raises RunError if the target, a right or the backup is no longer valid."""
    return step_of(lease, RestoreRun)


def step_of(lease: Lease, job: "type[RestoreRun]") -> Again | Done | None:
    """One step of a run that writes entries of a backup, by the class of its work. Raises RunError."""
    related = (
        "environment",
        "namespace",
        "generation__environment",
        "stage",
        "safety__run",
        "safety__verify_run",
        "bulk__family",
    )
    restore = Restore.objects.select_related(*related, "approval").get(run=lease.run)
    before_write.insist_target(restore, lease)
    newest_manifest.insist_none(restore.environment)
    # A restore that is ending reads no value of the backup.
    unread = bool(lease.run.cursor.get("ending")) and not job.compares_with_values
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store(restore.generation.environment)
        if unread
        else bucket_access.store_of(restore.generation) as store,
        open_clients(restore.environment) as clients,
        GenerationReader(restore.generation, store, lease.keep) as backup,
    ):
        clients.insist_visible(restore.namespace)
        return job(restore, lease, clients, backup).step()


class RestoreRun:
    """The work of one step on a restore. `putter` writes and `settler` reads back.

    `compares_with_values`: the comparison after the write needs the values of the backup, not only their digests.
    """

    putter: type[Putter] = Putter
    settler: type[Settler] = Settler
    stale: str | Promise = before_write.STALE
    compares_with_values = False

    def __init__(self, restore: Restore, lease: Lease, clients: Clients, backup: GenerationReader) -> None:
        self.restore, self.lease, self.backup = restore, lease, backup
        self.reader, self.budget = clients.reader, clients.budget
        self._putter = self.putter(restore, lease, clients, backup)
        self._settler = self.settler(restore, lease, clients, backup)
        self._ending = bool(lease.run.cursor.get("ending"))

    def step(self) -> Again | None:
        """The next step, by the phase of the run."""
        phases = {"begin": self.begin, "write": self.write, "settle": self.settle}
        return phases[self.lease.run.cursor.get("phase", "begin")]()

    def begin(self) -> Again | None:
        """Before the first write, back up the keys to overwrite, or check that no existing key differs."""
        emergency.insist_none(self.restore.environment)
        gone_in = self.until_gone()
        if gone_in > 0:
            return Again(gone_in, gettext_noop("Waiting: KV may still show the deleted keys."))
        self.derive()
        if self.restore.on_conflict == Restore.OnConflict.OVERWRITE:
            wait = safety_backup.back_up_first(self.restore, self.lease)
            if wait is not None:
                return wait
        if self.restore.on_conflict == Restore.OnConflict.STOP:
            wait = self._look()
            if wait is not None:
                return wait
        self.go_on()
        return None

    def go_on(self) -> None:
        """Everything that precedes the first write is done."""
        with self.lease.checkpoint(Again(), cursor={"phase": "write"}, note=gettext_noop("Writing.")):
            pass

    def until_gone(self) -> float:
        """Seconds until KV shows the deleted keys under this backup's prefixes as absent."""
        chunks = CleanupChunk.objects.filter(stage__namespace=self.restore.namespace).order_by()
        sent = chunks.values_list("stage__request__prefix").annotate(at=Max(Greatest("intended_at", "sent_at")))
        last = max(
            (at for prefix, at in sent if at and common([prefix], self.restore.generation.prefixes)), default=None
        )
        return timing.STALE - (clock.now() - last).total_seconds() if last else 0.0

    def _look(self) -> Again | None:
        """Read every name before the first write. If an existing key differs, nothing is written."""
        first = int(self.lease.run.cursor.get("looked", 0))
        while first < self.restore.names:
            names = wanted(self.restore, range(first, min(first + BLOCK, self.restore.names)))
            reserve(self.budget, most_calls_for(len(names)))
            self._putter.meter.insist({"read": len(names)})
            live = live_values(self.reader, self.restore.namespace.namespace_id, names, self.restore.generation.read)
            for one, entry in live:
                found = difference(self.backup.take(one), entry) if entry is not None else RestoreEntry.Found.ABSENT
                if found in (*RestoreEntry.CONFLICTS, RestoreEntry.Found.UNREADABLE):
                    sentence = _UNREADABLE if found is RestoreEntry.Found.UNREADABLE else _CONFLICT
                    raise RunError("conflict", say(sentence, name=repr(one.name)))
            first += len(names)
            note = counted(gettext_noop("Keys compared: %(n)s of %(total)s."), first, self.restore.names)
            with self.lease.checkpoint(cursor={"phase": "begin", "looked": first}, note=note):
                pass
            if self.lease.tired:
                return Again()
        return None

    def write(self) -> Again | None:
        """Write chunks until the step is over or none is left."""
        while not self.lease.tired:
            halted = emergency.stop_in_force(self.restore.environment) is not None
            states = [State.INTENDED, State.SENT] if halted else [State.INTENDED]
            doubtful = self.restore.chunks.filter(state__in=states).order_by("number").first()
            if doubtful is not None:
                wait = self._wait(doubtful)
                if wait > 0:
                    return Again(wait, gettext_noop("Waiting to read the result for the sent keys."))
                self._settler.settle(doubtful)
                continue
            emergency.insist_none(self.restore.environment)  # sent chunks were settled first: reading writes nothing
            chunk = self._next()
            if chunk is None:
                with self.lease.checkpoint(Again(), cursor={**self.lease.run.cursor, "phase": "settle"}):
                    return None
            if not safety_backup.verify_if_needed(self.restore, self.lease):
                return Again()
            self.derive()
            self._put(chunk)
        return Again()

    def _put(self, chunk: RestoreChunk) -> None:
        """Write the chunk, after checking both people's rights.

        If the emergency stop was pressed just now, the chunk stays planned, and earlier chunks are settled first.
        """
        try:
            self._insist_rights()  # after the work that may take long
            before_write.insist_in_force(self.restore, self.stale)
            self._putter.put(chunk)
        except Stopped as stopped:
            if stopped.code != emergency.CODE:
                raise

    def derive(self) -> None:
        """Derive the approved evidence again, unless that was done a short time ago. Raises RunError if it differs."""
        revalidation.derived(self.lease, self._insist_evidence)

    def _insist_evidence(self) -> None:
        """Derive the evidence, then look at the objects of the safety backup. Raises RunError if either differs."""
        self.insist_as_approved()
        safety_backup.insist_in_place(self.restore, self.lease)

    def insist_as_approved(self) -> None:
        """Derive the evidence that the reviewer saw. Raises RunError if it differs."""
        before_write.insist_as_approved(self.restore)

    def _wait(self, chunk: RestoreChunk) -> float:
        """Seconds until the chunk's writes can be read back."""
        last = self.restore.chunks.aggregate(at=Max(Greatest("intended_at", "sent_at")))["at"]
        since = chunk.sent_at or chunk.intended_at or last or clock.now()
        return revalidation.patience(chunk.attempt, ending=self._ending) - (clock.now() - since).total_seconds()

    def _next(self) -> RestoreChunk | None:
        """The chunk to write now; None if all were written, or if the run is being ended."""
        planned = self.restore.chunks.filter(state=State.PLANNED).order_by("first_index", "number")
        if self._ending:
            with self.lease.checkpoint():
                for chunk in planned.filter(attempt=1):
                    restore_chunks.leave(chunk)
            return None
        found = planned.first()
        if found is not None:
            return found
        with self.lease.checkpoint():
            return restore_chunks.next_restore_chunk(self.restore)

    def _insist_rights(self) -> None:
        approval = self.restore.approval
        if approval is None:
            raise RunError("not_approved", gettext_noop("The run does not carry the restore's approval."))
        try:
            approval_gate.still_valid(approval)
            if self.restore.stage:
                stage_undo.insist_in_time(self.restore.stage)
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.restore.environment)
            raise RunError("rights_gone", refused) from refused
        backups = Generation.objects.verified().filter(pk=self.restore.generation_id)
        if not backups.exists() or not safety_backup.is_backed_up(self.restore):
            raise RunError("backup_damaged", gettext_noop("The backup is no longer verified. Nothing more is written."))

    def settle(self) -> Again | None:
        """Compare the written entries, chunk by chunk; missing ones are written again."""
        while not self.lease.tired:
            # An early, possibly stale read planned each retry: a run that is ending reads these names once more.
            states = [State.INTENDED, State.SENT, *([State.PLANNED] if self._ending else [])]
            chunk = self.restore.chunks.filter(state__in=states).order_by("number").first()
            if chunk is None:
                return self._finish()
            wait = self._wait(chunk)
            if wait > 0:
                return Again(wait, gettext_noop("All keys were sent; waiting to read them back."))
            self._settler.settle(chunk)
        return Again()

    def _finish(self) -> Again | None:
        restore = self.restore
        if not self._ending and restore.chunks.filter(state=State.PLANNED).exists():
            with self.lease.checkpoint(Again(), cursor={"phase": "write"}):
                return None
        with self.lease.checkpoint():
            restore.entries.filter(outcome__in=RestoreEntry.UNDER_WAY).update(outcome=Outcome.STOPPED)
        results = dict(restore.entries.values_list("outcome").annotate(n=Count("pk")))
        written, equal = results.get(Outcome.WRITTEN, 0), results.get(Outcome.EQUAL, 0)
        counts = {"written": written, "equal": equal, "left": restore.names - written - equal}
        with self.lease.checkpoint(
            Done({**results, **counts}), cursor={}, done=restore.names, calls=self._putter.calls, note=""
        ):
            self.close(counts)
            own_changes.recount(restore.namespace)
        return None

    def close(self, counts: dict[str, int]) -> None:
        """Writing -> done, within the checkpoint that ends the run."""
        restore, actor = self.restore, self.lease.actor
        values, details = {**counts, "finished_at": Now()}, {**counts}
        states = ([Restore.State.WRITING], Restore.State.DONE)
        move(restore, *states, Action.RESTORE_FINISHED, actor=actor, values=values, details=details)
        stage_undo.link_deletions(restore, stage_undo.WRITTEN)
        if restore.stage:
            stage_undo.record_undo(Action.STAGE_UNDONE, restore.stage, restore, actor=actor)
