"""The only way of a changed value into KV: a run with the used approval of a change. One key, at most three writes.

Before each write the evidence is derived again, the proposal must be the object that the evidence names, and the entry
of its backup must equal the old value in it. KV must still hold that old entry, or, for a new key, none. The intent is
committed before the call, with the keyed digests of both entries. After the settle time the key is read back. A write
whose answer is unknown is settled by reading, never sent again blindly.

KV has no compare-and-set: the old entry is known to be there up to the last read. The gap to the write is stored.
"""

import time
from http import HTTPStatus

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit.actions import Action
from backups import archive
from backups.bucket import access as bucket_access, newest_manifest
from backups.bucket.r2 import R2Store
from backups.changes import before_write
from backups.changes.moves import finish, record_change
from backups.changes.proposal import Proposal
from backups.execution import revalidation
from backups.execution.clients import Clients, open_clients
from backups.execution.live_values import LEAST
from backups.execution.prepaid import reserve
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import KeyChange
from backups.retention.erasure import erase_proposal_permanently
from kvops import clock, timing
from kvops.cloudflare import ApiError, CloudflareError, KvEntry, ListedKey, NameRefused, TooLate
from kvops.cloudflare.writes import BulkOutcome
from kvops.inventory import own_changes
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.wording import say

Outcome = KeyChange.Outcome
RELATED = ("environment", "namespace__environment", "generation__environment", "generation__namespace", "approval")
DRIFTED = _(
    "%(name)s is not as it was when the change was made: value, metadata or expiration differ. Nothing was written. "
    "End the change here and prepare it again."
)
TOO_SLOW = gettext_noop(
    "The key could not be read quickly enough before the write, so this attempt wrote nothing. Try again, or end the "
    "change here."
)
APPEARED = _("%(name)s is there already, and the change was made to create it. Nothing was written. End it here.")


def run_change(lease: Lease) -> Again | Done | None:
    """One step of a change. Raises RunError if the target, a right, the proposal or the backup is not as approved."""
    change = KeyChange.objects.select_related(*RELATED).get(run=lease.run)
    before_write.insist_target(change, lease)
    newest_manifest.insist_none(change.environment)
    with (
        bucket_access.errors_for_a_run(),
        bucket_access.store(change.environment) as store,
        open_clients(change.environment) as clients,
    ):
        clients.insist_visible(change.namespace)
        return _ChangeRun(change, lease, clients, store).step()


class _ChangeRun:
    """The work of one step on a change."""

    def __init__(self, change: KeyChange, lease: Lease, clients: Clients, store: R2Store) -> None:
        self.change, self.lease, self.store = change, lease, store
        self.reader, self.writer, self.budget, self.meter = (
            clients.reader,
            clients.writer,
            clients.budget,
            clients.meter,
        )
        self._ending = bool(lease.run.cursor.get("ending"))
        self._calls_before = lease.run.calls

    @property
    def _calls(self) -> int:
        return self._calls_before + self.reader.calls + self.writer.calls

    def step(self) -> Again | None:
        """Settle a write that is in doubt, else write.

        An early, possibly stale read planned each retry: a run that is ending reads the key once more.
        """
        if self.change.in_doubt or (self._ending and self.change.attempt):
            wait = self._wait()
            if wait > 0:
                return Again(wait, gettext_noop("The value was sent; waiting to read it back."))
            return self._settle()
        emergency.insist_none(self.change.environment)  # a sent value is settled first: reading writes nothing
        if self._ending:
            self._finish(Outcome.STOPPED)
            return None
        revalidation.derived(self.lease, lambda: before_write.insist_as_approved(self.change, self.lease))
        if not before_write.backup_verified(self.change, self.lease):
            return Again()
        proposal = before_write.proposal_of(self.change, self.store)
        before_write.insist_backed_up(self.change, proposal)
        before_write.insist_rights(self.change)
        before_write.insist_in_force(self.change)
        return self._put(proposal)

    # The write

    def _put(self, proposal: Proposal) -> Again | None:
        """Read the key, intend, write, and store the answer. Raises RunError if KV holds another entry.

        If it does after an earlier attempt, the change is over: that attempt may have written the value before.
        """
        self.lease.renew()
        reserve(self.budget, 6)
        self.meter.insist({"read": 2, "write": 1})
        since = time.monotonic()
        until = since + timing.READ_FRESH
        live = self._live()
        if live == proposal.new:  # an earlier write arrived late, or somebody wrote the same
            self._intend(proposal, sent=True)
            return Again()
        if live != proposal.old and self.change.attempt:
            self._finish(Outcome.DIFFERENT)
            return None
        if live != proposal.old:
            sentence = APPEARED if proposal.old is None else DRIFTED
            raise RunError("drifted", say(sentence, name=repr(self.change.name)))
        self._insist_lasting(proposal.new)
        self._intend(proposal)
        try:
            with self.lease.fence():
                answer = self.writer.put_value(self.change.namespace.namespace_id, proposal.new, until=until)
        except CloudflareError as error:
            self._nothing_written()
            if isinstance(error, TooLate):
                raise RunError("too_slow", TOO_SLOW) from error
            if isinstance(error, ApiError) and error.status == HTTPStatus.BAD_REQUEST:
                raise RunError("refused", say(_("Cloudflare refused the value: %(error)s"), error=error)) from error
            raise
        self._sent(answer, self.writer.written_at - since)
        return Again()

    def _live(self) -> KvEntry | None:
        try:
            return self.reader.exact_get(self.change.namespace.namespace_id, self.change.name)
        except NameRefused as refused:
            raise RunError("unreadable", refused) from refused

    def _insist_lasting(self, new: KvEntry) -> None:
        """Raise RunError if KV would refuse the new expiration because it is too close."""
        if new.expiration is not None and new.expiration < clock.now().timestamp() + LEAST + timing.REQUEST_TIMEOUT:
            raise RunError(
                "expires_soon",
                gettext_noop(
                    "The new expiration has passed or is too close. Nothing more is written. End the change here."
                ),
            )

    def _intend(self, proposal: Proposal, *, sent: bool = False) -> None:
        """Commit the intent with both digests; with `sent`, nothing needs to be written and the key is read again."""
        key = encryption.newest_digest_key()
        before = entry_digest(proposal.old, key).hex() if proposal.old else ""
        after = entry_digest(proposal.new, key).hex()
        with self.lease.checkpoint(no_further=True):
            emergency.hold(self.change.environment)
            changed = KeyChange.objects.filter(
                pk=self.change.pk, state=KeyChange.State.WRITING, attempt=self.change.attempt
            ).update(
                attempt=self.change.attempt + (1 if self.change.attempt < KeyChange.TRIES else 0),
                digest_key=archive.key_id(key),
                digest_before=before,
                digest_after=after,
                intended_at=Now(),
                sent_at=Now() if sent else None,
                settled_at=None,
            )
            if changed != 1:
                raise RunError("moved", gettext_noop("The change was moved by another worker."))
            record_change(
                Action.CHANGE_INTENDED,
                self.change,
                actor=self.lease.actor,
                digest=after,
                details={"before": before, "after": after, "key": archive.key_id(key), "parts": list(proposal.parts)},
            )
        self.change.refresh_from_db()

    def _nothing_written(self) -> None:
        """Close an attempt of which nothing was written; it does not count."""
        with self.lease.checkpoint(no_further=True):
            KeyChange.objects.filter(pk=self.change.pk).update(settled_at=Now())

    def _sent(self, answer: BulkOutcome, gap: float) -> None:
        """Store the answer. An unknown outcome is settled by reading, like a known one."""
        values = {} if answer.unknown else {"sent_at": Now()}
        note = gettext_noop("The value was sent; waiting to read it back.")
        with self.lease.checkpoint(calls=self._calls, note=note):
            KeyChange.objects.filter(pk=self.change.pk).update(gap_ms=int(gap * 1000), **values)
        self.change.refresh_from_db()

    # Reading it back

    def _wait(self) -> float:
        return revalidation.patience(self.change.attempt, ending=self._ending) - self._waited

    @property
    def _waited(self) -> float:
        """Seconds since the newest attempt."""
        since = self.change.sent_at or self.change.intended_at or clock.now()
        return (clock.now() - since).total_seconds()

    def _settle(self) -> Again | None:
        """Read the key back by its digest; plan another write if the old entry is still there.

        A stale read shows the old entry too, while KV may hold the new one, or a newer one of another program. So
        nothing is sent again before KV's full propagation time is over.
        """
        reserve(self.budget, 4)
        live = self._live()
        key = encryption.digest_key_of(self.change.digest_key)
        held = "" if live is None else entry_digest(live, key).hex()
        outcome = self._outcome(held)
        if outcome is not None:
            self._finish(outcome, live if outcome == Outcome.WRITTEN else None)
            return None
        if (wait := timing.STALE - self._waited) > 0:
            return Again(wait, gettext_noop("The value is not in KV yet; waiting to read it once more."))
        with self.lease.checkpoint(no_further=True, note=gettext_noop("The value is not in KV yet; sending it again.")):
            KeyChange.objects.filter(pk=self.change.pk).update(settled_at=Now())
        return Again()

    def _outcome(self, held: str) -> KeyChange.Outcome | None:
        """The result by the digest of the entry in KV; None if the write did not arrive and is sent again."""
        if held == self.change.digest_after:
            return Outcome.WRITTEN
        if held != self.change.digest_before:
            return Outcome.DIFFERENT
        if self._ending:
            return Outcome.STOPPED
        return Outcome.FAILED if self.change.attempt >= KeyChange.TRIES else None

    def _finish(self, outcome: KeyChange.Outcome, live: KvEntry | None = None) -> None:
        change = self.change
        with self.lease.checkpoint(
            Done({"outcome": outcome.value, "attempts": change.attempt}), done=1, calls=self._calls, note=""
        ):
            finish(
                change,
                outcome,
                actor=self.lease.actor,
                details={
                    "attempts": change.attempt,
                    "before": change.digest_before,
                    "after": change.digest_after,
                    "key": change.digest_key,
                },
            )
            if live is not None:
                own_changes.put_back(change.namespace, [ListedKey(live.name, live.expiration, live.metadata)])
                own_changes.recount(change.namespace)


_CHANGED = """
SELECT c.name, c.intended_at AS at FROM backups_keychange c
 WHERE c.namespace_id = %(namespace)s AND c.attempt > 0 AND c.intended_at >= %(since)s"""


def changed_by_us() -> str:
    """SQL: each name of the namespace that a change wrote or may have written since then, with the time."""
    return _CHANGED


def erase_proposal(lease: Lease) -> None:
    """Erase the proposal of a change that is applied, rejected, withdrawn, expired or given up.

    No approval is needed, because the object is no backup and its change is decided. The lifecycle rule of the bucket
    deletes it too, should this run fail for 30 days. One step, the only one. Raises RunError if the object is not such
    a proposal.
    """
    change = KeyChange.objects.select_related("environment", "namespace").get(erase_run=lease.run)
    if change.is_open or not change.object_key.startswith(bucket_access.proposals_root(change.environment)):
        raise RunError("wrong_target", gettext_noop("The object is not the proposal of a change that is over."))
    if change.bucket != change.environment.r2_bucket:
        raise RunError("wrong_target", gettext_noop("The proposal is in a bucket that the environment no longer uses."))
    newest_manifest.insist_none(change.environment)
    with bucket_access.errors_for_a_run(), bucket_access.store(change.environment) as store:
        with lease.checkpoint(no_further=True):
            record_change(Action.PROPOSAL_ERASING, change, actor=lease.actor, details={"object": change.object_key})
        erase_proposal_permanently(store, lease, change.object_key)
    with lease.checkpoint(Done({"erased": 1}), done=1, note=""):
        KeyChange.objects.filter(pk=change.pk, erased_at=None).update(erased_at=Now())
        record_change(Action.PROPOSAL_ERASED, change, actor=lease.actor, details={"object": change.object_key})
